"""Chapters in plain text are found only if their headings form a sequence."""

from collections.abc import Sequence

import pytest

from stories.numerals import parse_number
from stories.records import Record, Reject
from stories.structure.chapters import find_chapters
from tests.unit.stories.material import prose, read


def book(headings: Sequence[str], words: int = 300, front: str = "") -> str:
    """Put text below each heading."""
    chapters = [f"{heading}\n\n{prose(number, words)}" for number, heading in enumerate(headings)]
    return "\n\n".join(filter(None, [front, *chapters]))


def titles(text: str) -> list[str]:
    """Return the titles of the chapters found."""
    return [chapter.title for chapter in find_chapters(text)]


@pytest.mark.parametrize(
    "headings",
    [
        ["CHAPTER I", "CHAPTER II", "CHAPTER III"],
        ["Chapter 1: The Door", "Chapter 2: The Key"],
        ["Chapter One", "Chapter Two", "Chapter Three"],
        ["CHAPTER THE FIRST", "CHAPTER THE SECOND"],
        ["Chapter Twenty-One", "Chapter Twenty-Two"],
        ["I", "II", "III", "IV"],
        ["1", "2", "3"],
        ["1. The Door", "2. The Key", "3. The Lock"],
        ["Kapitel 1", "Kapitel 2"],
        ["Erstes Kapitel", "Zweites Kapitel"],
        ["Chapitre premier", "Chapitre deuxième"],
        ["Capítulo uno", "Capítulo dos"],
        ["Глава первая", "Глава вторая"],
        ["第一章 海", "第二章 山"],
        ["Prologue", "Chapter 1", "Chapter 2", "Epilogue"],
        ["Letter 1", "Letter 2", "Letter 3", "Letter 4"],
    ],
    ids=lambda headings: headings[0],
)
def test_headings_in_sequence_begin_chapters(headings: list[str]) -> None:
    assert titles(book(headings)) == headings


@pytest.mark.parametrize(
    ("dressed", "plain"), [("## CHAPTER 1 ##", "CHAPTER 1"), ("[Chapter 1]", "Chapter 1"), ("- 1 -", "1")]
)
def test_decoration_around_a_heading_is_removed(dressed: str, plain: str) -> None:
    headings = [dressed.replace("1", str(number)) for number in (1, 2, 3)]
    assert titles(book(headings))[0] == plain


@pytest.mark.parametrize(
    "text",
    [
        prose(1),
        book(["I", "II", "III"], words=60),
        book([str(number) for number in range(1, 60)], words=250),
        book(["Chapter 9"]),
        "\n\n".join(f"{number}. Beat the eggs" for number in range(1, 30)),
        "\n\n".join(f"Chapter {number}" for number in range(1, 30)),
        book(["Chapter 7 was where he had stopped", "Chapter 3 was the one he liked"]),
        book(["12", "40", "7", "1999"]),
    ],
    ids=[
        "no headings",
        "numbered sections of a short story",
        "page numbers",
        "one heading",
        "a recipe",
        "only a table of contents",
        "sentences",
        "numbers in no order",
    ],
)
def test_text_that_only_looks_like_chapters_is_not_split(text: str) -> None:
    assert find_chapters(text) == []


def test_parts_name_the_chapters_below_them() -> None:
    headings = ["VOLUME I\n\nCHAPTER I", "CHAPTER II", "VOLUME II\n\nCHAPTER I", "CHAPTER II"]
    assert titles(book(headings)) == [
        "VOLUME I, CHAPTER I",
        "VOLUME I, CHAPTER II",
        "VOLUME II, CHAPTER I",
        "VOLUME II, CHAPTER II",
    ]


def test_a_name_below_the_number_belongs_to_the_title() -> None:
    text = book(["CHAPTER I\n\nThe Door", "CHAPTER II\nThe Key", "CHAPTER III\n\nThe Lock"])
    assert titles(text) == ["CHAPTER I: The Door", "CHAPTER II: The Key", "CHAPTER III: The Lock"]


def test_speech_below_a_number_is_not_its_name() -> None:
    text = book(["CHAPTER I\n\n“Mind the cat!”", "CHAPTER II\n\n— Who is there", "CHAPTER III"])
    assert titles(text) == ["CHAPTER I", "CHAPTER II", "CHAPTER III"]


def test_a_table_of_contents_is_not_chapters() -> None:
    headings = [f"Chapter {number}" for number in range(1, 6)]
    text = book(headings, front="\n\n".join(["Contents", *headings]))
    found = find_chapters(text)
    assert [chapter.title for chapter in found] == headings
    assert text[found[0].body :].lstrip().startswith(prose(0, 300)[:30])


def test_a_heading_that_is_missing_costs_no_chapter_after_it() -> None:
    headings = ["Chapter 1", "Chapter 2", "Chapter 4", "Chapter 5"]
    assert titles(book(headings)) == headings


def test_chapters_follow_each_other_without_a_gap() -> None:
    text = book(["Chapter 1", "Chapter 2", "Chapter 3"], front="A Book")
    found = find_chapters(text)
    assert [chapter.begin for chapter in found[1:]] == [chapter.end for chapter in found[:-1]]
    assert found[-1].end == len(text)


def test_every_character_of_a_book_in_one_file_is_accounted_for() -> None:
    text = "A Book\n\nby Nobody\r\n\n" + book(["Chapter 1", "Chapter 2\n\n\n"]) + "\n\n"
    lines = read("a-book.txt", text.encode())
    records = [line for line in lines if isinstance(line, Record)]
    assert [record.title for record in records] == ["Chapter 1", "Chapter 2"]
    assert {record.work for record in records} == {"a-book"}
    for record in records:
        removed = sum(change.removed for change in record.changes)
        assert record.characters_read - removed == record.characters_kept
    (front,) = (line for line in lines if isinstance(line, Reject))
    assert front.characters + sum(record.characters_read for record in records) == len(text)
    assert front.cure == "Nothing needs to be done."


def test_a_preface_is_kept() -> None:
    lines = read("a-book.txt", book(["Chapter 1", "Chapter 2"], front=prose(9, 120)).encode())
    assert next(line.text for line in lines if isinstance(line, Record)) == prose(9, 120)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("number", "meant"),
    [
        ("12", 12),
        ("XLII", 42),
        ("xiv", 14),
        ("Twenty-One", 21),
        ("twelfth", 12),
        ("zwölftes", 12),
        ("二十三", 23),
        ("mix", None),
        ("vivid", None),
        ("", None),
    ],
)
def test_numbers(number: str, meant: int | None) -> None:
    assert parse_number(number) == meant
