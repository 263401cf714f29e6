"""The threat model names tests that exist."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "threat-model.md"


def test_every_attacker_has_a_goal_controls_and_remaining_risks() -> None:
    rows = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| **")]
    assert len(rows) >= 15
    for row in rows:
        assert len(row) == 4 and all(cell.strip() for cell in row), row[0]
        assert re.search(r"`tests/|assumed by|no output of the model", row[2]), f"no test is named: {row[0]}"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE.read_text())
    assert len(named) >= 15
    for file, test in named:
        assert re.search(rf"^def {test}\(", (CHECKOUT / file).read_text(), re.MULTILINE), f"{file}::{test}"
