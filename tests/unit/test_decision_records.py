"""The decision records have one form, that of docs/decisions/0000-template.md."""

import re
from pathlib import Path

import pytest

DECISIONS = Path(__file__).resolve().parents[2] / "docs" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
SECTIONS = re.findall(r"^## (.+)$", (DECISIONS / "0000-template.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_the_form_of_the_template(record: Path) -> None:
    text = record.read_text()
    assert text.startswith(f"# {int(record.name[:4])}. "), "its title begins with its number"
    assert re.search(r"^Status: (Accepted|Replaced by .+), ", text, re.MULTILINE)
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == [section for section in SECTIONS if section in sections], "in the template's order"
    assert "Decision" in sections


def test_every_number_is_used_once() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_every_link_leads_to_a_file(record: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", record.read_text())
    assert [link for link in links if not (record.parent / link).exists() and link != "NNNN-name.md"] == []
