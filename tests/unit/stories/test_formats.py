"""A book gives the same stories as a folder of chapters and as one file of any format."""

import re
from collections import Counter
from collections.abc import Mapping

import pytest

from stories.records import Record, Reject
from stories.structure.titles import work_title
from tests.unit.stories import book
from tests.unit.stories.material import Lines, only_record, read

FORMATS = ("html", "epub", "docx", "odt", "rtf", "pdf")


@pytest.fixture(scope="module")
def editions(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Lines]:
    """The records of the book in each format, made and read once."""
    files = book.write_all(tmp_path_factory.mktemp("book"))
    return {ending: read(path.name, path.read_bytes()) for ending, path in files.items()}


@pytest.fixture(scope="module")
def folder() -> list[Record]:
    """The records of the chapters as a folder of text files."""
    return [
        only_record(read(f"{book.NAME}/chapter-{chapter.number:02}.txt", book.as_text(chapter).encode()))
        for chapter in book.chapters()
    ]


def _records(lines: Lines) -> list[Record]:
    return [line for line in lines if isinstance(line, Record)]


def test_the_folder_gives_what_the_author_wrote(folder: list[Record]) -> None:
    for record, chapter in zip(folder, book.chapters(), strict=True):
        assert record.text == chapter.text
        assert record.title == f"{chapter.heading}: {chapter.name}"
    assert len({record.work for record in folder}) == 1


@pytest.mark.parametrize("ending", FORMATS)
def test_a_book_gives_the_stories_of_its_folder(
    editions: Mapping[str, Lines], folder: list[Record], ending: str
) -> None:
    lines = editions[ending]
    preface, *chapters = _records(lines)
    assert preface.title == "Preface"
    assert _kept(" ".join(book.PREFACE), preface.text) >= 0.99
    assert [record.title.removeprefix("PART ONE, ").removeprefix("PART TWO, ") for record in chapters] == [
        record.title for record in folder
    ]
    for found, wanted in zip(chapters, folder, strict=True):
        assert _kept(wanted.text, found.text) >= 0.99, wanted.title
        assert _kept(found.text, wanted.text) >= 0.99, "nothing but the story"
    assert {work_title(record.work) for record in _records(lines)} == {book.TITLE.capitalize()}


@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != "pdf"])
def test_the_text_is_the_same_to_the_letter(
    editions: Mapping[str, Lines], folder: list[Record], ending: str
) -> None:
    found = {record.id for record in _records(editions[ending])}
    assert {record.id for record in folder} <= found


@pytest.mark.parametrize("ending", FORMATS)
def test_lines_of_verse_stay_lines(editions: Mapping[str, Lines], ending: str) -> None:
    assert any(book.VERSE in record.text for record in _records(editions[ending]))


@pytest.mark.parametrize("ending", FORMATS)
def test_no_running_head_and_no_page_number_is_left(editions: Mapping[str, Lines], ending: str) -> None:
    names = {chapter.name for chapter in book.chapters()} | {book.TITLE}
    for record in _records(editions[ending]):
        alone = set(re.split(r"\n+", record.text))
        assert not alone & names
        assert not any(paragraph.strip().isdigit() for paragraph in alone)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_character_is_accounted_for(editions: Mapping[str, Lines], ending: str) -> None:
    lines = editions[ending]
    for record in _records(lines):
        removed = sum(change.removed for change in record.changes)
        assert record.characters_read - removed == record.characters_kept
    rejects = [line for line in lines if isinstance(line, Reject)]
    assert all(reject.characters and reject.cure for reject in rejects)
    if ending != "pdf":
        assert [reject.entry for reject in rejects][:1] == ["pages around the story"]


def _kept(wanted: str, found: str) -> float:
    """Return the share of one text's words that are in another, in any order."""
    words = Counter(wanted.split())
    return (words & Counter(found.split())).total() / words.total()
