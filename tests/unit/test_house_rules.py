"""The house rules that a machine can check; `python -m benchmarks.house` prints the numbers behind them."""

from pathlib import Path

import pytest

from benchmarks.house import House, ListedException, listed_exceptions, new_exceptions, shrunk


@pytest.fixture(scope="module")
def house() -> House:
    return House()


def test_no_rule_is_broken_more_often_than_the_exceptions_allow(house: House) -> None:
    assert new_exceptions(house.exceptions(), listed_exceptions()) == []


def test_the_list_of_exceptions_shrinks_with_the_code(house: House) -> None:
    listed = listed_exceptions()
    assert shrunk(listed, house.exceptions()) == listed, "run: python -m benchmarks.house --shrink"


def test_no_room_imports_from_one_above_or_beside_it(house: House) -> None:
    assert house.upward_imports() == []


def test_no_files_import_one_another_in_a_circle(house: House) -> None:
    assert house.circles() == []


def test_no_function_imports_another_and_nothing_else_imports_a_function(house: House) -> None:
    assert house.function_imports() == []


def test_every_exception_has_a_reason() -> None:
    entries = [(name, entry) for entries in listed_exceptions().values() for name, entry in entries.items()]
    assert [name for name, entry in entries if len(entry["reason"]) < 20] == []


def _checkout(folder: Path, files: dict[str, str]) -> House:
    import subprocess

    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return House(folder)


def test_a_name_that_two_files_define_is_found_and_roles_are_not(tmp_path: Path) -> None:
    text = "class Answer: ...\ndef handler(): ...\ndef _own(): ...\n"
    house = _checkout(tmp_path, {"cli/a.py": text, "lambda/f/handler.py": text, "tests/a.py": text})
    assert house.repeated_names() == {"Answer": 2}


def test_a_root_module_shares_no_name_with_the_rooms(tmp_path: Path) -> None:
    house = _checkout(
        tmp_path, {"lock_files.py": "class Lock: ...\n", "lambda/f/items.py": "class Lock: ...\n"}
    )
    assert house.repeated_names() == {"Lock": 2}


def test_a_file_over_400_lines_is_found(tmp_path: Path) -> None:
    house = _checkout(tmp_path, {"stories/long.py": "a = 1\n" * 401, "stories/short.py": "a = 1\n" * 400})
    assert house.long_files() == {"stories/long.py": 401}


@pytest.mark.parametrize(
    "path",
    ["app.py", "web/src/ui/a.css", "stories/report/a.html.jinja", "stacks/chat/edge.js", "web/src/a.tsx"],
)
def test_the_limit_is_also_that_of_root_modules_styles_templates_and_scripts(
    tmp_path: Path, path: str
) -> None:
    assert _checkout(tmp_path, {path: "\n" * 401}).long_files() == {path: 401}


@pytest.mark.parametrize(
    "sentence",
    [
        "None where there is none.",
        "Tried where nobody looks",
        "None where an answer says that it is None",
        "the quiet_timer",
        "Say yes to a run",
        "a Ticket",
        "limits.admit(caller)",
        "class Team:",
        "Passes(model)",
        "taught tokens",
        "the Surprise",
        "if run.going:",
        "the Places",
        "_let_write(role)",
        "This run has been: its call was delivered twice.",
        "A run is going; one more will start after it.",
        "You today",
        "may ask 60 times a minute",
    ],
)
def test_private_words_are_found_in_code_and_pages(tmp_path: Path, sentence: str) -> None:
    house = _checkout(
        tmp_path, {"cli/a.py": f'"""{sentence}"""\n', "docs/a.md": sentence, "README.md": "Plain."}
    )
    assert house.private_words() == {"cli": 1, "pages": 1}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("docs/decisions/0001-rooms.md", "decisions"),
        ("local/aws/README.md", "pages"),
        ("benchmarks/README.md", "pages"),
        ("web/index.html", "pages"),
        ("CHANGELOG.md", "CHANGELOG.md"),
        ("stories/report/report.html.jinja", "stories"),
        ("app.py", "app.py"),
    ],
)
def test_private_words_are_found_in_every_page_and_root_module(tmp_path: Path, path: str, kind: str) -> None:
    assert _checkout(tmp_path, {path: "# None where there is none.\n"}).private_words() == {kind: 1}


@pytest.mark.parametrize(
    "sentence",
    [
        "An event that is delivered twice counts once.",
        "Passes requests on",
        "the team of writers",
        "It is going to fail",
        "where the file is, and it is none of ours",
    ],
)
def test_what_only_looks_private_is_left_alone(tmp_path: Path, sentence: str) -> None:
    assert _checkout(tmp_path, {"cli/a.py": f'"""{sentence}"""\n'}).private_words() == {}


def test_a_place_is_not_a_private_word(tmp_path: Path) -> None:
    house = _checkout(tmp_path, {"cli/a.py": '"""Return where it failed, and where to write."""\n'})
    assert house.private_words() == {}


def test_circles_are_found_in_python_and_typescript(tmp_path: Path) -> None:
    files = {
        "lambda/shared/a.py": "from shared import b\n",
        "lambda/shared/b.py": "from shared.a import c\n",
        "lambda/shared/late.py": "def f():\n    from shared import later\n",
        "lambda/shared/later.py": "import shared.late\n",
        "lambda/shared/typed.py": "if TYPE_CHECKING:\n    from shared import typed_too\n",
        "lambda/shared/typed_too.py": "import shared.typed\n",
        "cli/package/__init__.py": "from cli.package import part\n",
        "cli/package/part.py": "from cli.package import other\n",
        "cli/package/other.py": "",
        "web/src/x.tsx": 'import { y } from "./deep/y";\n',
        "web/src/deep/y.ts": 'import { x } from "../x";\n',
    }
    assert _checkout(tmp_path, files).circles() == [
        ["lambda/shared/a.py", "lambda/shared/b.py"],
        ["lambda/shared/late.py", "lambda/shared/later.py"],
        ["lambda/shared/typed.py", "lambda/shared/typed_too.py"],
        ["web/src/deep/y.ts", "web/src/x.tsx"],
    ]


def test_an_import_of_a_room_above_is_found(tmp_path: Path) -> None:
    house = _checkout(
        tmp_path, {"cli/a.py": "import stories.b\n", "stories/b.py": "from cli import a\n", "stacks/c.py": ""}
    )
    assert house.upward_imports() == ["stories/b.py imports cli/a.py"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("lambda/gate/handler.py", "lambda/deploy/bundle.py"),
        ("lambda/gate/handler.py", "lambda/chat_api/errors.py"),
        ("lambda/gate/handler.py", "cli/app.py"),
        ("lambda/gate/handler.py", "stacks/quotas.py"),
        ("lambda/gate/handler.py", "training_code/storyloom_jobs/cpu.py"),
        ("lambda/chat_api/app.py", "lambda/begin/handler.py"),
        ("lambda/shared/clock.py", "lambda/begin/handler.py"),
        ("lambda/shared/clock.py", "lambda/chat_api/errors.py"),
        ("cli/app.py", "lambda/shared/clock.py"),
        ("cli/app.py", "lambda/chat_api/errors.py"),
        ("stacks/quotas.py", "lambda/shared/clock.py"),
        ("local/cloud.py", "lambda/shared/clock.py"),
    ],
)
def test_an_import_across_the_border_of_a_function_is_found(tmp_path: Path, source: str, target: str) -> None:
    root = "lambda/" if target.startswith("lambda/") else "training_code/"
    module = target.removeprefix(root).removesuffix(".py").replace("/", ".")
    house = _checkout(tmp_path, {source: f"import {module}\n", target: ""})
    assert house.function_imports() == [f"{source} imports {target}"]


def test_a_function_may_import_itself_and_what_lies_below_all_functions(tmp_path: Path) -> None:
    files = {
        "lambda/gate/handler.py": "from gate import rules\nimport shared.clock\nfrom contracts import roles\n"
        "import price_list.prices\nfrom stories import records\n",
        "lambda/gate/rules.py": "",
        "lambda/shared/clock.py": "import contracts.roles\n",
        "contracts/roles.py": "",
        "price_list/prices.py": "",
        "stories/records.py": "",
        "cli/app.py": "import contracts.roles\n",
    }
    assert _checkout(tmp_path, files).function_imports() == []


def test_the_exceptions_are_only_lowered() -> None:
    def entries(**counts: int) -> dict[str, ListedException]:
        return {name: {"count": count, "reason": f"why {name}"} for name, count in counts.items()}

    listed = {
        "repeated_names": entries(Answer=3, Line=2),
        "long_files": entries(long=500),
        "private_words": entries(),
    }
    found = {
        "repeated_names": {"Answer": 2, "New": 2},
        "long_files": {"long": 600},
        "private_words": {"cli": 1},
    }
    assert shrunk(listed, found) == {
        "repeated_names": entries(Answer=2),
        "long_files": entries(long=500),
        "private_words": {},
    }
    assert len(new_exceptions(found, listed)) == 3
