"""Shipped code has no literal of a variable, key, name or status: `contracts/` names them, and nothing else.

A literal counts only if it can mean the contract: a docstring, a comment or a sentence may mention one.

What these checks cannot see: a key, name or status that is put together from pieces (`"ru" + "ns/"`,
`Path("runs") / run_id`) or held in a variable of another name (`word = "awake"; state.status = word`), a
status as a key of a dictionary, a lower-case sort key, and a status that another field has (`state`, `kind`).
`local/aws/` is not searched, because it knows nothing of the app, and `local/endpoint_server/` may name
files, because it plays the role of a container.

Two parts of the app cannot import `contracts/` and have copies. `training_code/` runs alone in a container:
`test_the_training_code_has_the_same_names` compares them. The page has the types that are generated from
`docs/openapi.json`, which `test_the_committed_description_is_the_api` compares with the API; the API's
statuses are those of `contracts/statuses.py`. Nothing compares `web/src/api/openapi.ts` with that document.
"""

import ast
import inspect
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from contracts import environment, resource_names, roles, s3_keys, statuses, table_keys
from stories.dataset.assembly import EXAMPLES_FILE, LEDGER_FILE

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("app.py", "cli", "lambda", "local", "stacks")
KNOWS_NOTHING_OF_THE_APP = "local/aws/"
PLAYS_A_CONTAINER = "local/endpoint_server/"

VARIABLES = environment.variable("")
PREFIXES = (
    s3_keys.BASE_MODELS,
    s3_keys.CACHE,
    s3_keys.HOSTING,
    s3_keys.RUNS,
    s3_keys.TRAINING_CODE,
    s3_keys.TRANSFORMS,
    s3_keys.LEDGER.partition("/")[0] + "/",
)
FOLDERS = {prefix.rstrip("/") for prefix in PREFIXES}


def _file_names() -> Iterator[str]:
    """Yield the names of the files whose keys `s3_keys` makes, without those that are numbers or digests."""
    for function, made in vars(s3_keys).items():
        if inspect.isfunction(made) and function not in {"split", "request_part"}:
            key = str(made(*["*"] * len(inspect.signature(made).parameters)))
            name = key.rpartition("/")[2]
            if "." in name and "*" not in name:
                yield name


FILES = {*_file_names(), *s3_keys.ADAPTER_FILES, s3_keys.LEDGER.rpartition("/")[2]}
PARTITIONS = {value for name, value in vars(table_keys).items() if name.isupper() and isinstance(value, str)}
SORT_KEYS = {
    value[1]
    for name, value in vars(table_keys).items()
    if name.isupper() and isinstance(value, tuple) and value[1].isupper()
}
MADE_PARTITIONS = tuple(
    made("").partition("#")[0] + "#"
    for made in (
        table_keys.ledger_entries,
        table_keys.batches_of,
        table_keys.usage_of,
        table_keys.answer_partition,
        table_keys.repeated_requests,
    )
)
_APP = resource_names.AppNames("")
NAMES = (
    *(resource_names.TAG, resource_names.REGION_TAG, s3_keys.RETIRED),
    *(*resource_names.JOB_LOGS, resource_names.ENDPOINT_LOGS, resource_names.STATE_MACHINE_LOGS),
    *(_APP.training_job(""), _APP.evaluation_job(""), _APP.transform_job(""), *_APP.rollback_alarms),
    _APP.page_url_parameter.lstrip("/"),
    *(stack.removeprefix("X") for stack in resource_names.AppNames("x").all_stacks),
)
WORDS = {value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, str)}
STATUS_TYPES = ("ApprovalAnswer", "BatchStatus", "HostingStatus", "RunStatus", "VersionStatus")
STATUS_FIELDS = ("status", "outcome", "answer")


@cache
def shipped() -> Mapping[str, ast.Module]:
    """Return the shipped code that must use the contracts, by path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *ROOMS],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return {
        path: ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
        for path in listed
        if path.endswith(".py")
        and not path.startswith(KNOWS_NOTHING_OF_THE_APP)
        and (CHECKOUT / path).exists()
    }


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module with their lines, without docstrings; of an f-string how it begins."""
    inside = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values[1:]
    }
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | said:
            yield node.lineno, node.value


def any_text(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every string of a module and every part of an f-string, without docstrings."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def later_parts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the parts of f-strings that something stands before."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for part in node.values[1:]:
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def variables_in(tree: ast.Module) -> list[int]:
    """Return the lines with the name of a function's environment variable."""
    return [line for line, text in any_text(tree) if VARIABLES in text]


def keys_in(tree: ast.Module) -> list[int]:
    """Return the lines with a key of the artifacts bucket: alone, in a URI or ARN, or joined from a list.

    A link to a view of the page looks like one, and so does a route of the API, which begins with a slash.
    """
    views = {
        (part.lineno, part.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call.func) == "page_link"
        for part in ast.walk(call)
        if isinstance(part, ast.Constant)
    }
    begun = [
        line
        for line, text in literals(tree)
        if (text.startswith(PREFIXES) and (line, text) not in views) or _contains_key(text[1:])
    ]
    continued = [line for line, text in later_parts(tree) if text.startswith(PREFIXES) or _contains_key(text)]
    return sorted({*begun, *continued, *_joined_keys(tree)})


def _contains_key(text: str) -> bool:
    return " " not in text and any(f"/{prefix}" in text for prefix in PREFIXES)


def _joined_keys(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value="/"), attr="join"),
                args=[
                    ast.List(elts=[ast.Constant(value=first), *_])
                    | ast.Tuple(elts=[ast.Constant(value=first), *_])
                ],
            ) if first in FOLDERS:
                yield node.lineno


def files_in(tree: ast.Module) -> list[int]:
    """Return the lines with the name of a file in the artifacts bucket, alone or after a slash."""
    return [line for line, text in any_text(tree) if " " not in text and text.rpartition("/")[2] in FILES]


def partitions_in(tree: ast.Module) -> list[int]:
    """Return the lines with a partition of the table."""
    found = {
        line
        for line, text in literals(tree)
        if text in PARTITIONS | SORT_KEYS or text.startswith(MADE_PARTITIONS)
    }
    return sorted(found)


def names_in(tree: ast.Module) -> list[int]:
    """Return the lines with a part of a resource's name, or a role."""
    return [
        line
        for line, text in any_text(tree)
        if text in roles.ROLES or any(name in text and " " not in text for name in NAMES)
    ]


def statuses_in(tree: ast.Module, parameters: Mapping[str, set[int | str]]) -> list[int]:
    """Return the lines on which a status is compared with a literal, or set to one."""
    return sorted({found.lineno for place in _status_places(tree, parameters) for found in _words(place)})


def status_parameters(trees: Mapping[str, ast.Module]) -> dict[str, set[int | str]]:
    """Return the functions that take a status, with the positions and names of these parameters."""
    found: dict[str, set[int | str]] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                positional = [*node.args.posonlyargs, *node.args.args]
                takes = [a for a in (*positional, *node.args.kwonlyargs) if _is_status_type(a.annotation)]
                for argument in takes:
                    found.setdefault(node.name, set()).add(argument.arg)
                    if argument in positional:
                        found[node.name].add(positional.index(argument))
    return found


def _is_status_type(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(name in ast.unparse(annotation) for name in STATUS_TYPES)


def _status_places(tree: ast.Module, parameters: Mapping[str, set[int | str]]) -> Iterator[ast.expr]:
    """Yield the expressions whose value is compared with a status, or becomes one."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                yield from _beside_a_status([left, *others])
            case ast.BoolOp(values=values):
                yield from _beside_a_status(values)
            case ast.Assign(targets=targets, value=value) if any(_is_status(target) for target in targets):
                yield value
            case ast.Match(subject=subject, cases=cases) if _is_status(subject):
                for case in cases:
                    yield from (n.value for n in ast.walk(case.pattern) if isinstance(n, ast.MatchValue))
            case ast.Dict(keys=keys, values=values):
                yield from (value for key, value in zip(keys, values, strict=True) if _names_a_status(key))
            case ast.Call(func=function, args=arguments, keywords=named):
                takes = parameters.get(_name(function), set())
                yield from (argument.value for argument in named if argument.arg in {"status", *takes})
                yield from (argument for place, argument in enumerate(arguments) if place in takes)
                if _is_status(node):  # run.get("status", …)
                    yield from arguments[1:]
                if isinstance(function, ast.Attribute) and _is_status(function.value):  # Attr("status").eq(…)
                    yield from arguments
            case _:
                yield from _typed_places(node)


def _beside_a_status(sides: Sequence[ast.expr]) -> Sequence[ast.expr]:
    return sides if any(_is_status(side) for side in sides) else ()


def _names_a_status(key: ast.expr | None) -> bool:
    """Return whether the value of a key may be a status, also in an expression or a choice of a state."""
    return (
        isinstance(key, ast.Constant)
        and isinstance(key.value, str)
        and (key.value in STATUS_FIELDS or key.value.startswith(":") or key.value == "StringEquals")
    )


def _typed_places(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the values of a variable or the results of a function with a status as its type."""
    match node:
        case ast.AnnAssign(target=target, value=ast.expr() as value) if _is_status(target):
            yield value
        case ast.AnnAssign(annotation=annotation, value=ast.expr() as value):
            if _is_status_type(annotation):
                yield value
        case (
            ast.FunctionDef(returns=returns, args=arguments)
            | ast.AsyncFunctionDef(returns=returns, args=arguments)
        ):
            if _is_status_type(returns):
                yield from (n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value)
            yield from _default_statuses(arguments)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
            if all(isinstance(word, ast.Constant) and word.value in WORDS for word in words):
                yield from words


def _default_statuses(arguments: ast.arguments) -> Iterator[ast.expr]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [
        *zip(reversed(positional), reversed(arguments.defaults), strict=False),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for argument, default in defaults:
        if default is not None and (argument.arg == "status" or _is_status_type(argument.annotation)):
            yield default


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_status(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in STATUS_FIELDS
        case ast.Subscript(slice=ast.Constant(value=name)):
            return name in STATUS_FIELDS
        case ast.Call(func=ast.Name(id="Attr"), args=[ast.Constant(value=name)]):
            return name in STATUS_FIELDS
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=name), *_]):
            return name in STATUS_FIELDS
    return False


def _words(place: ast.expr) -> Iterator[ast.Constant]:
    """Yield the statuses written in a value: alone, in a collection, or in either branch of a condition."""
    match place:
        case ast.Constant(value=value) if value in WORDS:
            yield place
        case ast.Set(elts=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts):
            for part in parts:
                yield from _words(part)
        case ast.IfExp(body=body, orelse=otherwise):
            yield from _words(body)
            yield from _words(otherwise)
        case ast.Call(func=ast.Name(id="frozenset" | "set"), args=[collection]):
            yield from _words(collection)
        case ast.Dict(keys=keys):
            for key in keys:
                if key is not None:
                    yield from _words(key)


@pytest.mark.parametrize("find", [variables_in, keys_in, partitions_in, names_in], ids=lambda f: f.__name__)
def test_shipped_code_has_no_literal_of_a_contract(find) -> None:  # type: ignore[no-untyped-def]
    assert [f"{path}:{line}" for path, tree in shipped().items() for line in find(tree)] == []


def test_shipped_code_has_no_name_of_a_file_in_the_bucket() -> None:
    found = [
        f"{path}:{line}"
        for path, tree in shipped().items()
        if not path.startswith(PLAYS_A_CONTAINER)
        for line in files_in(tree)
    ]
    assert found == []


TRAINING_CODE = CHECKOUT / "training_code" / "storyloom_jobs"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("gpu_check.py", environment.EVALUATION_ACCELERATOR),
        ("artifacts.py", s3_keys.STAGED_FILE),
        ("artifacts.py", s3_keys.model_archive("", "").rpartition("/")[2]),
        ("lora_model.py", s3_keys.ADAPTER_WEIGHTS),
        ("lora_model.py", s3_keys.ADAPTER_CONFIG),
        ("evaluation/job.py", s3_keys.evaluation_json("").rpartition("/")[2]),
        ("evaluation/job.py", s3_keys.evaluation_page("").rpartition("/")[2]),
    ],
)
def test_the_training_code_has_the_same_names(file: str, name: str) -> None:
    assert name in {text for _, text in any_text(ast.parse((TRAINING_CODE / file).read_text()))}


def test_the_dataset_has_the_same_names() -> None:
    assert s3_keys.examples("x", "test").endswith(f"/{EXAMPLES_FILE}")
    assert s3_keys.ledger_used("x").endswith(f"/{LEDGER_FILE}")


def test_shipped_code_has_no_literal_of_a_status() -> None:
    parameters = status_parameters(shipped())
    found = [f"{path}:{line}" for path, tree in shipped().items() for line in statuses_in(tree, parameters)]
    assert found == []


@pytest.mark.parametrize(
    ("find", "code"),
    [
        (variables_in, 'os.environ["STORYLOOM_TABLE"]'),
        (variables_in, 'f"STORYLOOM_{name}"'),
        (keys_in, 'allow(role, ["runs/*/manifest.jsonl"])'),
        (keys_in, 'f"hosting/{version}/"'),
        (keys_in, '"split/ledger.json"[0]'),
        (keys_in, 'f"s3://{bucket}/runs/{run_id}/manifest.jsonl"'),
        (keys_in, '"arn:aws:s3:::bucket/runs/*"[0]'),
        (keys_in, 'f"{arn}/hosting/*"'),
        (keys_in, 'f"{slash}runs/{run_id}"'),
        (keys_in, '"/".join(["runs", run_id])'),
        (keys_in, '"/".join(("hosting", version))'),
        (files_in, 'f"{prefix}/evaluation.json"'),
        (files_in, '"manifest.jsonl"[0]'),
        (files_in, 'name == "staged.json"'),
        (files_in, 'f"{name}/output/model.tar.gz"'),
        (partitions_in, 'table.get(table_keys.TIMER, "QUIET")'),
        (names_in, 'x = "Storyloom-Chat"'),
        (names_in, 'x = f"{title}-Operations"'),
        (partitions_in, 'table.get("LOCK", "PIPELINE")'),
        (partitions_in, 'f"USAGE#{caller}"[0]'),
        (names_in, 'x = f"{name}-train-{run_id}"'),
        (names_in, 'x = "/aws/sagemaker/TrainingJobs"'),
        (names_in, 'x = {"Key": "storyloom:app"}'),
        (names_in, 'x = f"/{name}/page-url"'),
        (names_in, 'x = person.role == "owner"'),
    ],
)
def test_a_planted_literal_is_found(find, code: str) -> None:  # type: ignore[no-untyped-def]
    assert find(ast.parse(f"x = {code}" if "=" not in code else code)) == [1]


@pytest.mark.parametrize(
    "code",
    [
        'state.status == "awake"',
        'run["status"] in {"failed", "succeeded"}',
        'changes = {"status": "asleep", "since": now}',
        'Attr("status").is_in(["asleep", "failing"])',
        'Batch(status="uploading")',
        'finish(run_id, "failed", message)',
        'item.get("status") == "awake"',
        'item.get("status", "awake")',
        'state.status = "awake"',
        'item["status"] = "awake"',
        'state.status or "asleep"',
        'match state.status:\n    case "awake":\n        pass',
        'match item["status"]:\n    case "awake" | 3:\n        pass',
        'def show(status="awake"): ...',
        'def show(*, how: HostingStatus = "awake"): ...',
        'async def show() -> HostingStatus:\n    return "awake"',
        'class State:\n    answer: str = "approved"',
        'values = {":s": "awake"}',
        'choice = {"Variable": "$.smoke", "StringEquals": "passed"}',
        'ENDED: frozenset[RunStatus] = frozenset({"failed"})',
        'def decide(approval) -> VersionStatus:\n    return "approved" if approval else "pending"',
    ],
)
def test_a_planted_status_is_found(code: str) -> None:
    parameters = status_parameters({"": ast.parse("def finish(run_id: str, status: RunStatus): ...")})
    assert len(statuses_in(ast.parse(code), parameters)) == 1


def test_a_type_of_its_own_for_statuses_is_found() -> None:
    assert statuses_in(ast.parse('Phase = Literal["running", "failed"]'), {}) == [1]


@pytest.mark.parametrize(
    "code",
    [
        '"""Runs are in runs/<run_id>/, and STORYLOOM_TABLE names the table."""',
        'print("A run failed")',
        'results["failed"]',
        'progress.state == "failed"',
        'phase: Literal["waiting", "draining"] = "waiting"',
        'client.get(f"/runs/{run_id}")',
        'options.get("--json", "failed")',
        'raise Damaged("The evaluation job has no evaluation.json")',
        'sagemaker_status == "Completed"',
        'open("/runs/x")',
        'words = "its folder under base-models/ in the artifacts bucket"',
    ],
)
def test_what_only_looks_like_one_is_left_alone(code: str) -> None:
    tree = ast.parse(code)
    finds = (variables_in, keys_in, files_in, partitions_in, names_in)
    assert [find(tree) for find in finds] == [[]] * len(finds)
    assert statuses_in(tree, {}) == []
