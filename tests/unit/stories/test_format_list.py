"""The list of formats that messages and pages name is that of the readers."""

import json
from pathlib import Path

from stories.format_list import FORMATS, usual_endings
from stories.formats.detection import readers

CHECKOUT = Path(__file__).resolve().parents[3]


def test_every_reader_is_listed_and_every_listed_format_has_a_reader() -> None:
    assert {ending for endings in FORMATS.values() for ending in endings} == set(readers())


def test_the_list_in_words_has_the_usual_endings() -> None:
    assert usual_endings().startswith(".txt, .md, ")
    assert usual_endings().endswith(" or .zip")


def test_the_page_that_people_upload_to_has_the_same_list() -> None:
    page = json.loads((CHECKOUT / "web" / "src" / "views" / "stories" / "formats.json").read_text())
    assert page == {name: list(endings) for name, endings in FORMATS.items()}, "Run: make openapi"


def test_the_page_of_the_dataset_has_every_ending() -> None:
    page = (CHECKOUT / "docs" / "dataset.md").read_text()
    assert [ending for endings in FORMATS.values() for ending in endings if f"`{ending}`" not in page] == []
