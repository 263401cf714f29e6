"""The page of facts about AWS and the tests that hold them: neither has one that the other lacks."""

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "aws-behaviour.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


def rows() -> list[list[str]]:
    """The cells of each row of the page's tables."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] != "fact" and not set("".join(row)) <= set("-|")]


def marked() -> set[str]:
    """The tests that are marked `aws_fact`, as `path::name`, read without importing them."""
    found = set()
    for path in sorted((CHECKOUT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = [ast.unparse(decorator) for decorator in node.decorator_list]
                if any(mark.startswith("pytest.mark.aws_fact") for mark in marks):
                    found.add(f"{path.relative_to(CHECKOUT).as_posix()}::{node.name}")
    return found


def test_every_row_has_a_fact_a_source_a_behaviour_and_a_test() -> None:
    for row in rows():
        assert len(row) == 4 and all(row), row
        assert _TEST.search(row[3]), f"no test is named: {row}"


def test_the_page_and_the_marked_tests_agree() -> None:
    named = set(_TEST.findall(PAGE.read_text()))
    assert named == marked()
