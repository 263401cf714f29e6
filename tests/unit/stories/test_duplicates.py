"""Stories that duplicate a newer one are dropped, and the report names them."""

from collections.abc import Callable

import pytest

from stories.dataset.duplicates import draft_name
from stories.report.data_report import Duplicate
from tests.unit.stories.material import Assembled, Lines, prose, read, read_all

OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-09-01T00:00:00.000Z"
Assemble = Callable[..., Assembled]


def _revised(text: str, every: int) -> str:
    """Change every n-th word."""
    words = text.split(" ")
    return " ".join("changed" if number % every == every - 1 else word for number, word in enumerate(words))


def _others() -> Lines:
    return read_all({f"other-story-{name}.txt": prose(ord(name)).encode() for name in "abcdefgh"})


def test_the_newest_of_two_equal_stories_is_kept(assembled: Assemble) -> None:
    old = read("first.txt", prose(1).encode(), OLD)
    new = read("second.txt", prose(1).upper().replace("\n\n", "\n\n\n").encode(), NEW)
    for lines in (old + new, new + old):
        report, _ = assembled(lines + _others())
        assert list(report.duplicates) == [
            Duplicate(
                kept="second.txt",
                dropped="first.txt",
                kind="exact",
                similarity=1.0,
                why="The two are the same word for word. The newer one is kept.",
            )
        ]
        assert report.stories == 9


def test_a_revised_story_replaces_its_draft(assembled: Assemble) -> None:
    draft = read("draft.txt", prose(1).encode(), OLD)
    final = read("final.txt", _revised(prose(1), 25).encode(), NEW)
    report, parts = assembled(draft + final + _others())
    (pair,) = report.duplicates
    assert (pair.kept, pair.dropped, pair.kind) == ("final.txt", "draft.txt", "near")
    assert 0.5 <= pair.similarity < 1
    assert prose(1)[:200].encode() not in b"".join(parts.values())


def test_different_stories_are_kept(assembled: Assemble) -> None:
    report, _ = assembled(_others())
    assert not report.duplicates
    assert report.stories == 8


def test_a_rewritten_story_is_another_story(assembled: Assemble) -> None:
    lines = read("one.txt", prose(1).encode()) + read("two.txt", _revised(prose(1), 4).encode())
    report, _ = assembled(lines + _others())
    assert not report.duplicates


def test_the_same_answer_to_two_questions_is_not_a_duplicate(assembled: Assemble) -> None:
    row = '{"prompt": "%s", "completion": "It was nobody at all who did it."}\n'
    rows = row % "Who broke the blue jug on Wednesday?" + row % "And who let in the goose that ate the post?"
    report, _ = assembled(read("chat.jsonl", rows.encode()) + _others())
    assert not report.duplicates


def test_a_file_whose_only_story_is_a_duplicate_still_counts_as_kept(assembled: Assemble) -> None:
    lines = read("one.txt", prose(1).encode()) + read("two.txt", prose(1).encode())
    report, _ = assembled(lines)
    assert (report.files, report.kept, report.stories) == (2, 2, 1)


def test_a_story_inside_a_collection_is_left_out(assembled: Assemble) -> None:
    collection = "\n\n".join(prose(seed) for seed in range(40, 50)).encode()
    lines = read("collection.txt", collection, OLD) + read("single.txt", prose(44).encode(), NEW)
    report, parts = assembled(lines + _others())
    (pair,) = report.duplicates
    assert (pair.kept, pair.dropped, pair.kind) == ("collection.txt", "single.txt", "part")
    assert pair.similarity > 0.9
    assert b"".join(parts.values()).count(prose(44)[-120:].encode()) <= 1


def test_a_common_notice_does_not_make_stories_parts_of_each_other(assembled: Assemble) -> None:
    notice = prose(500, 200)
    lines = read_all(
        {f"tale-of-{name}.txt": f"{notice}\n\n{prose(ord(name))}".encode() for name in "abcdefgh"}
    )
    report, _ = assembled(lines)
    assert not report.duplicates


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("the ferry.txt", "the ferry v2.txt"),
        ("the-ferry-draft.txt", "the-ferry.txt"),
        ("The Ferry (draft 2).txt", "the_ferry_final.txt"),
        ("drafts/the ferry 2024-03-01.txt", "drafts/the ferry 2024-11-20.txt"),
        ("the ferry v9.txt", "the ferry v10.txt"),
        ("fähre entwurf.txt", "fähre endfassung.txt"),
    ],
)
def test_the_later_by_name_of_two_drafts_uploaded_together_is_kept(
    assembled: Assemble, early: str, late: str
) -> None:
    # A fifth of the wording is the same, which is enough only because they share a name.
    first = prose(1, 400)
    second = "\n\n".join([first[: len(first) // 3], prose(2, 260)])
    for one, other in ((early, late), (late, early)):
        report, _ = assembled(read_all({one: first.encode(), other: second.encode()}) + _others())
        (pair,) = report.duplicates
        assert (pair.kept, pair.dropped, pair.kind) == (late, early, "draft")
        assert 0.1 < pair.similarity < 0.5
        assert "two drafts of one story. The later one by its name is kept." in pair.why
    report, _ = assembled(
        read_all({"the ferry.txt": first.encode(), "eels.txt": second.encode()}) + _others()
    )
    assert not report.duplicates


def test_the_newer_draft_is_kept_under_any_name(assembled: Assemble) -> None:
    lines = read("ferry final.txt", prose(1).encode(), OLD)
    lines += read("ferry draft.txt", _revised(prose(1), 14).encode(), NEW)
    (pair,) = assembled(lines + _others())[0].duplicates
    assert (pair.kept, pair.kind) == ("ferry draft.txt", "draft")
    assert pair.why.endswith("The newer one is kept.")


def test_a_rewritten_story_of_the_same_name_is_not_a_draft(assembled: Assemble) -> None:
    lines = read_all({"the ferry.txt": prose(1).encode(), "the ferry (retold) v2.txt": prose(2).encode()})
    lines += read_all({"the ferry final.txt": _revised(prose(1), 4).encode()})
    assert not assembled(lines + _others())[0].duplicates


def test_numbered_stories_are_not_drafts() -> None:
    assert draft_name("the ferry 2").story == "the ferry 2"
    assert draft_name("The Last Ferry").story == "the last ferry"
    assert draft_name("Copy of the ferry (3)") == draft_name("the ferry (3)")
    assert draft_name("the ferry v2 final").revision > draft_name("the ferry v3").revision


def test_the_kept_stories_of_a_chain_of_revisions_are_not_similar(assembled: Assemble) -> None:
    texts = [prose(1)]
    for number in range(6):
        words = texts[-1].split(" ")
        texts.append(
            " ".join(
                f"new{number}" if place % 18 == number * 5 % 18 else word for place, word in enumerate(words)
            )
        )
    ages = [f"2026-0{1 + number}-01T00:00:00.000Z" for number in range(7)]
    lines = [
        line
        for number, (text, age) in enumerate(zip(texts, ages, strict=True))
        for line in read(f"tale of {'abcdefg'[number]}.txt", text.encode(), age)
    ]
    report, _ = assembled(lines)
    kept = {pair.kept for pair in report.duplicates}
    dropped = {pair.dropped for pair in report.duplicates}
    assert "tale of g.txt" in kept, report.duplicates
    assert not kept & dropped
    assert report.stories == 7 - len(dropped) >= 2


def test_the_kept_story_of_a_duplicate_is_in_the_dataset(assembled: Assemble) -> None:
    collection = "\n\n".join(prose(seed) for seed in range(40, 50)).encode()
    lines = read("collection.txt", collection, OLD) + read_all({"single.txt": prose(44).encode()})
    lines += read("again.txt", prose(44).encode(), OLD)
    report, _ = assembled(lines + _others())
    assert {(pair.kept, pair.kind) for pair in report.duplicates} == {("collection.txt", "part")}
    assert "says the same as single.txt" in report.duplicates[0].why
