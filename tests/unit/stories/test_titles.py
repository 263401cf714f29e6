"""Chapters of one book belong to one work; stories with different names do not."""

import pytest

from stories.structure.titles import is_chapter_title, reading_order, work_key, work_title


@pytest.mark.parametrize(
    ("paths", "title"),
    [
        (["emma/chapter-01.txt", "emma/chapter-02.md", "emma/Chapter 3 - The Ball.txt"], "Emma"),
        (["emma/01.txt", "emma/02-the-ball.txt", "emma/10 letters.txt"], "Emma"),
        (["books/emma-01.txt", "books/Emma 2.txt", "books/emma_chapter_3.txt"], "Emma"),
        (["Emma - Chapter I.txt", "Emma - Chapter IX.txt"], "Emma"),
        (["chapter-1.txt", "chapter-2.txt"], None),
        (["b.zip/emma/ch1.txt", "b.zip/emma/ch2.txt"], "Emma"),
    ],
)
def test_siblings(paths: list[str], title: str | None) -> None:
    (work,) = {work_key(path) for path in paths}
    assert work_title(work) == title


@pytest.mark.parametrize(
    "paths",
    [
        ["a/the-tin-rooster.txt", "a/the-tin-kettle.txt"],
        ["emma/chapter-01.txt", "persuasion/chapter-01.txt"],
        ["emma-1.txt", "persuasion-1.txt"],
        ["a/partly-cloudy.txt", "a/party.txt"],
        ["a/mr. brown.txt", "a/mr. green.txt"],
        ["a/mix.txt", "a/mild.txt"],
    ],
)
def test_strangers(paths: list[str]) -> None:
    assert len({work_key(path) for path in paths}) == len(paths)


def test_reading_order() -> None:
    chapters = [
        "Chapter I",
        "Chapter II",
        "Chapter IV",
        "Chapter IX",
        "Chapter X",
        "Chapter XIV",
        "Chapter XL",
    ]
    assert sorted(sorted(chapters), key=reading_order) == chapters
    files = ["b/chapter-1.txt", "b/chapter-2.txt", "b/chapter-10.txt", "b/part-one.txt", "b/part-two.txt"]
    assert sorted(sorted(files), key=reading_order) == files


@pytest.mark.parametrize(
    ("title", "only_counts"),
    [
        ("Chapter 3", True),
        ("CHAPTER IV", True),
        ("XII", True),
        ("7", True),
        ("The Lamp", False),
        ("Mixed", False),
    ],
)
def test_chapter_titles(title: str, only_counts: bool) -> None:
    assert is_chapter_title(title) is only_counts
