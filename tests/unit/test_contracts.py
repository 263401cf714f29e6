"""Shipped code has no literal of a variable, key, name or status: `contracts/` names them, and nothing else.

A literal counts only if it can mean the contract: a docstring, a comment or a sentence may mention one.
"""

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from contracts import resource_names, roles, s3_keys, statuses, table_keys
from contracts.environment import variable

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("app.py", "cli", "lambda", "local", "stacks")
KNOWS_NOTHING_OF_THE_APP = "local/aws/"

VARIABLES = variable("")
PREFIXES = (
    s3_keys.BASE_MODELS,
    s3_keys.CACHE,
    s3_keys.HOSTING,
    s3_keys.RUNS,
    s3_keys.TRAINING_CODE,
    s3_keys.TRANSFORMS,
    s3_keys.LEDGER.partition("/")[0] + "/",
)
PARTITIONS = {value for name, value in vars(table_keys).items() if name.isupper() and isinstance(value, str)}
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


def variables_in(tree: ast.Module) -> list[int]:
    """Return the lines with the name of a function's environment variable."""
    return [line for line, text in any_text(tree) if VARIABLES in text]


def keys_in(tree: ast.Module) -> list[int]:
    """Return the lines with a string that begins as a key of the artifacts bucket does, and is no view's."""
    views = {
        (part.lineno, part.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call.func) == "page_link"
        for part in ast.walk(call)
        if isinstance(part, ast.Constant)
    }
    return [line for line, text in literals(tree) if text.startswith(PREFIXES) and (line, text) not in views]


def partitions_in(tree: ast.Module) -> list[int]:
    """Return the lines with a partition of the table."""
    return [line for line, text in literals(tree) if text in PARTITIONS or text.startswith(MADE_PARTITIONS)]


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
                sides = [left, *others]
                if any(_is_status(side) for side in sides):
                    yield from sides
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in STATUS_FIELDS:
                        yield value
            case ast.Call(func=function, args=arguments, keywords=named):
                takes = parameters.get(_name(function), set())
                yield from (argument.value for argument in named if argument.arg in {"status", *takes})
                yield from (argument for place, argument in enumerate(arguments) if place in takes)
                if isinstance(function, ast.Attribute) and _is_status(function.value):  # Attr("status").eq(…)
                    yield from arguments
            case _:
                yield from _typed_places(node)


def _typed_places(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the values of a variable or the results of a function with a status as its type."""
    match node:
        case ast.AnnAssign(target=ast.Name(id="status"), value=ast.expr() as value):
            yield value
        case ast.AnnAssign(annotation=annotation, value=ast.expr() as value):
            if _is_status_type(annotation):
                yield value
        case ast.FunctionDef(returns=returns):
            if _is_status_type(returns):
                yield from (n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value)


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
        'ENDED: frozenset[RunStatus] = frozenset({"failed"})',
        'def decide(approval) -> VersionStatus:\n    return "approved" if approval else "pending"',
    ],
)
def test_a_planted_status_is_found(code: str) -> None:
    parameters = status_parameters({"": ast.parse("def finish(run_id: str, status: RunStatus): ...")})
    assert len(statuses_in(ast.parse(code), parameters)) == 1


@pytest.mark.parametrize(
    "code",
    [
        '"""Runs are in runs/<run_id>/, and STORYLOOM_TABLE names the table."""',
        'print("A run failed")',
        'results["failed"]',
        'progress.state == "failed"',
        'sagemaker_status == "Completed"',
        'open("/runs/x")',
        'words = "its folder under base-models/ in the artifacts bucket"',
    ],
)
def test_what_only_looks_like_one_is_left_alone(code: str) -> None:
    tree = ast.parse(code)
    finds = (variables_in, keys_in, partitions_in, names_in)
    assert [find(tree) for find in finds] == [[]] * len(finds)
    assert statuses_in(tree, {}) == []
