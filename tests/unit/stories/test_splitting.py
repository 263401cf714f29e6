"""Training and held-out parts share no story, and hardly change when stories are added."""

import json
from collections.abc import Callable

import pytest

from stories.dataset.splitting import hash_fraction
from tests.unit.stories.material import Assembled, Files, prose, read_all

Assemble = Callable[..., Assembled]


def _short_stories(count: int, words: int = 600) -> Files:
    names = ("lamp", "goose", "eel", "well", "letter", "bell", "cat", "hat")
    return {
        f"tales/{names[number % 8]}-of-{chr(97 + number // 26)}{chr(97 + number % 26)}.txt": prose(
            number, words
        ).encode()
        for number in range(count)
    }


def _novel(chapters: int, words: int = 600, folder: str = "novel") -> Files:
    seed = 1000 + sum(map(ord, folder))
    return {
        f"{folder}/chapter-{number}.txt": f"Chapter {number}\n\n{prose(seed * 100 + number, words)}".encode()
        for number in range(1, chapters + 1)
    }


def _titles(part: bytes) -> set[str]:
    return {json.loads(line)["title"] for line in part.splitlines()}


def _ids(part: bytes) -> set[str]:
    return {json.loads(line)["story_id"] for line in part.splitlines()}


@pytest.mark.parametrize("count", [6, 8, 12, 24, 32, 60, 200])
def test_short_stories_are_held_out_whole(assembled: Assemble, count: int) -> None:
    report, parts = assembled(read_all(_short_stories(count)))
    train, validation, test = (_ids(parts[part]) for part in ("train", "validation", "test"))
    assert not train & test
    assert not train & validation
    assert not validation & test
    assert len(train | validation | test) == report.stories == count
    assert len(validation) >= 1
    assert len(test) >= 2 or report.split["test"].words >= 0.1 * report.words
    assert report.split["train"].words >= 0.6 * report.words
    assert sum(size.words for size in report.split.values()) == report.words


def test_about_a_tenth_of_thirty_two_stories_is_tested_on(assembled: Assemble) -> None:
    report, _ = assembled(read_all(_short_stories(32)))
    assert 2 <= report.split["test"].stories <= 5
    assert 1 <= report.split["validation"].stories <= 4


def test_few_stories_change_sides_when_stories_are_added(assembled: Assemble) -> None:
    _, before = assembled(read_all(_short_stories(150, words=60)))
    _, after = assembled(read_all(_short_stories(160, words=60)))
    moved = _ids(before["train"]) & _ids(after["test"])
    assert len(moved) <= 1
    assert len(_ids(before["test"]) & _ids(after["train"])) <= 1


def test_hash_fractions_are_even() -> None:
    fractions = [hash_fraction(f"story {number}") for number in range(4000)]
    assert sum(fraction < 0.125 for fraction in fractions) == pytest.approx(500, abs=70)


def test_chapters_of_one_of_many_books_stay_together(assembled: Assemble) -> None:
    files = {
        path: content
        for number in range(12)
        for path, content in _novel(4, 300, f"book-{chr(97 + number)}").items()
    }
    report, parts = assembled(read_all(files))
    books = [
        {title.split(",")[0] for title in _titles(parts[part])} for part in ("train", "validation", "test")
    ]
    assert not (books[0] & books[1] or books[0] & books[2] or books[1] & books[2])
    assert len(books[0] | books[1] | books[2]) == 12
    assert "gap" not in report.verdict


def test_the_last_chapters_of_a_single_novel_are_held_out_after_a_gap(assembled: Assemble) -> None:
    report, parts = assembled(read_all(_novel(30)))
    numbers = {
        part: sorted(int(title.rsplit(" ", 1)[1]) for title in _titles(content))
        for part, content in parts.items()
    }
    assert numbers["test"] == [28, 29, 30]
    assert numbers["validation"] == [27]
    assert numbers["train"] == list(range(1, 26))
    assert "after a gap of 600 words" in report.verdict
    assert report.words - sum(size.words for size in report.split.values()) == 600


def test_the_end_of_a_single_text_is_held_out(assembled: Assemble) -> None:
    text = prose(1, 12_000)
    report, parts = assembled(read_all({"novel.txt": text.encode()}))
    test = [json.loads(line)["messages"][-1]["content"] for line in parts["test"].splitlines()]
    train = [json.loads(line)["messages"][-1]["content"] for line in parts["train"].splitlines()]
    assert text.endswith(test[-1])
    assert text.startswith(train[0])
    assert text.index(train[-1]) < text.index(test[0])
    assert report.split["test"].words == pytest.approx(1200, rel=0.3)
    assert report.enough


def test_a_novel_beside_short_stories_gives_its_end(assembled: Assemble) -> None:
    report, parts = assembled(read_all({**_novel(30), **_short_stories(20)}))
    in_test = {title for title in _titles(parts["test"]) if title.startswith("Novel")}
    assert in_test == {"Novel, Chapter 28", "Novel, Chapter 29", "Novel, Chapter 30"}
    assert report.split["train"].words > 0.6 * report.words


@pytest.mark.parametrize("files", [{}, _short_stories(1, 20), _short_stories(2, 30), _short_stories(4, 40)])
def test_too_little_text_is_reported_and_not_split(assembled: Assemble, files: Files) -> None:
    report, _ = assembled(read_all(files))
    assert not report.enough
    assert "needs at least 5,000" in report.verdict
    assert f"{report.words:,} words" in report.verdict
    assert f"{5000 - report.words:,} more words" in report.verdict
