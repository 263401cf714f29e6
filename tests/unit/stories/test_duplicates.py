"""Stories that say the same as a newer one are left out, and the report says which."""

from collections.abc import Callable

from stories.models import Duplicate
from tests.unit.stories.material import Assembled, Lines, prose, read, read_all

OLD, NEW = "2026-01-01T00:00:00.000Z", "2026-09-01T00:00:00.000Z"
Assemble = Callable[..., Assembled]


def _revised(text: str, every: int) -> str:
    """Change every so-manieth word."""
    words = text.split(" ")
    return " ".join("changed" if number % every == every - 1 else word for number, word in enumerate(words))


def _others() -> Lines:
    return read_all({f"other-story-{name}.txt": prose(ord(name)).encode() for name in "abcdefgh"})


def test_the_newest_of_two_equal_stories_stays(assembled: Assemble) -> None:
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
                why="The two are the same word for word. The newer one stays.",
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


def test_different_stories_stay(assembled: Assemble) -> None:
    report, _ = assembled(_others())
    assert not report.duplicates
    assert report.stories == 8


def test_a_rewritten_story_is_another_story(assembled: Assemble) -> None:
    lines = read("one.txt", prose(1).encode()) + read("two.txt", _revised(prose(1), 4).encode())
    report, _ = assembled(lines + _others())
    assert not report.duplicates


def test_the_same_answer_to_two_questions_is_no_duplicate(assembled: Assemble) -> None:
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
