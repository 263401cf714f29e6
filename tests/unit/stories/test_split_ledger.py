"""Held-out stories stay held out when stories are added, deleted, revised, renamed or brought back."""

import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stories.dataset.assembly import LEDGER_FILE, assemble
from stories.dataset.split_ledger import SplitLedger
from stories.records import PARTS
from stories.report.data_report import DataReport
from tests.unit.stories.material import Files, options, prose, read_all

# Without shrinking, which would take minutes: a failing history is printed as generated.
HISTORIES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


class Runs:
    """Successive runs, each with the ledger of the previous one."""

    def __init__(self) -> None:
        self.ledger: str | None = None

    def run(self, files: Files) -> tuple[DataReport, dict[str, bytes]]:
        """Assemble the current files of the bucket."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            before = SplitLedger.model_validate_json(self.ledger) if self.ledger else None
            report = assemble(read_all(files), options(chat=False), folder, before)
            self.ledger = (folder / LEDGER_FILE).read_text()
            return report, {part: (folder / part / "examples.jsonl").read_bytes() for part in PARTS}


def _sentences(part: bytes) -> set[str]:
    """Return the sentences of a part's examples; `prose` makes sentences of twelve words, each once."""
    return {sentence for line in part.splitlines() for sentence in _said(json.loads(line)["text"])}


def _said(text: str) -> set[str]:
    found = {sentence.strip(" .") for sentence in text.replace("\n\n", " ").split(". ")}
    return {sentence for sentence in found if len(sentence.split()) == 12}


def _sides(parts: Mapping[str, bytes]) -> dict[str, str]:
    return {json.loads(line)["story_id"]: part for part in PARTS for line in parts[part].splitlines()}


def _tales(numbers: range, words: int = 360) -> dict[str, bytes]:
    return {f"tale of {_word(number)}.txt": prose(number, words).encode() for number in numbers}


def _word(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def _chapters(numbers: range, words: int = 360) -> dict[str, bytes]:
    return {
        f"novel/chapter-{number}.txt": f"Chapter {number}\n\n{prose(5000 + number, words)}".encode()
        for number in numbers
    }


def test_the_same_corpus_twice_gives_the_same_bytes() -> None:
    files = {**_tales(range(20)), **_chapters(range(1, 31)), "long.txt": prose(77, 9000).encode()}
    runs = Runs()
    first, ledger = runs.run(files), runs.ledger
    assert runs.run(files) == first
    assert runs.ledger == ledger


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 40])
def test_adding_a_story_leaves_every_other_on_its_side(count: int) -> None:
    runs = Runs()
    _, parts = runs.run(_tales(range(count)))
    before = _sides(parts)
    for added in range(count, count + 12):
        _, parts = runs.run(_tales(range(added + 1)))
        after = _sides(parts)
        assert {story: after[story] for story in before} == before
        before = after


def test_deleting_a_story_removes_every_example_made_from_it_and_moves_none() -> None:
    files = _tales(range(24))
    runs = Runs()
    _, parts = runs.run(files)
    before = _sides(parts)
    gone = _said(files.pop("tale of h.txt").decode())
    assert gone & set().union(*(_sentences(part) for part in parts.values()))
    _, parts = runs.run(files)
    after = _sides(parts)
    assert len(before) == len(after) + 1
    assert after.items() <= before.items()
    assert not gone & set().union(*(_sentences(part) for part in parts.values()))


def test_a_story_that_comes_back_returns_to_its_side_under_any_name() -> None:
    files = _tales(range(40))
    runs = Runs()
    _, parts = runs.run(files)
    before = _sides(parts)
    away = {path for number, path in enumerate(files) if number % 3 == 0}
    _, parts = runs.run({path: text for path, text in files.items() if path not in away})
    missing = {before[story] for story in before.keys() - _sides(parts).keys()}
    assert missing >= {"train", "test"}
    _, parts = runs.run(
        {f"again/{path[:-4]} it is.txt" if path in away else path: files[path] for path in files}
    )
    assert _sides(parts) == before


@pytest.mark.parametrize("part", ["test", "validation"])
def test_other_stories_replace_a_held_out_part_that_was_deleted(part: str) -> None:
    files = _tales(range(24))
    runs = Runs()
    _, parts = runs.run(files)
    before = _sides(parts)
    held_out = {json.loads(line)["title"].casefold() for line in parts[part].splitlines()}
    _, parts = runs.run({path: text for path, text in files.items() if path[:-4] not in held_out})
    after = _sides(parts)
    moved = {(before[story], side) for story, side in after.items() if before[story] != side}
    assert moved == {("train", part)}


def test_replacements_stay_held_out_when_an_old_draft_comes_back() -> None:
    files = _tales(range(24))
    runs = Runs()
    _, parts = runs.run(files)
    titles = {json.loads(line)["title"].casefold() for line in parts["train"].splitlines()}
    trained = {path: text for path, text in files.items() if path[:-4] in titles}
    revised = {path: text.replace(b". ", b". And ", 1) for path, text in trained.items()}
    _, parts = runs.run(revised)
    tested = _sentences(parts["test"])
    assert tested
    _, parts = runs.run(files)
    assert not tested & _sentences(parts["train"])


def test_a_novel_keeps_its_held_out_chapters_when_it_grows() -> None:
    runs = Runs()
    _, parts = runs.run(_chapters(range(1, 31)))
    before = _sides(parts)
    report, parts = runs.run(_chapters(range(1, 41)))
    after = _sides(parts)
    assert before.items() <= after.items()
    new = [side for story, side in after.items() if story not in before]
    # Chapter 31 follows a test chapter and is left out.
    assert new == ["train"] * 9
    assert report.words - sum(size.words for size in report.split.values()) == 2 * 360


def test_a_novel_that_was_cut_down_keeps_its_held_out_chapters_when_they_come_back() -> None:
    runs = Runs()
    _, parts = runs.run(_chapters(range(1, 11), 120))
    tested = _sentences(parts["test"])
    assert tested & _said(prose(5010, 120))
    _, parts = runs.run(_chapters(range(1, 3), 120))
    tested |= _sentences(parts["test"])
    _, parts = runs.run(_chapters(range(1, 17), 120))
    assert not tested & _sentences(parts["train"])


def test_a_text_keeps_its_held_out_passages_when_it_grows_and_is_revised() -> None:
    text = prose(1, 9000)
    runs = Runs()
    _, parts = runs.run({"novel.txt": text.encode()})
    held_out = _sentences(parts["test"]) | _sentences(parts["validation"])
    assert len(held_out) > 90
    paragraphs = text.split("\n\n")
    paragraphs[-3] = prose(500, 60)
    paragraphs[4:4] = [prose(501, 300)]
    _, parts = runs.run({"my novel.txt": "\n\n".join([*paragraphs, prose(502, 3000)]).encode()})
    train = _sentences(parts["train"])
    assert not train & held_out
    assert not train & _said(prose(500, 60))
    assert len(train) > len(_said(text))


@HISTORIES
@given(
    st.lists(st.sets(st.integers(0, 24), min_size=1), min_size=2, max_size=6),
    st.lists(st.integers(0, 30), min_size=6, max_size=6),
    st.randoms(use_true_random=False),
)
def test_no_story_moves_from_test_to_train(
    history: list[set[int]], chapters: list[int], dice: random.Random
) -> None:
    runs = Runs()
    tested: set[str] = set()
    for numbers, last in zip(history, chapters, strict=False):
        files = _chapters(range(1, last + 1), 120)
        for number in numbers:
            # Some stories are revised at times, others renamed, others kept twice.
            text, name = prose(number, 240), f"tale of {_word(number)}.txt"
            now = dice.randrange(3)
            if number % 3 == 0:
                text = text.replace(". ", ". And ", now)
            elif number % 3 == 1:
                name = f"{now}/{name}"
            elif now:
                files[f"{name[:-4]} (final).txt"] = f"{text}\n\n{prose(900 + number, 60)}".encode()
            files[name] = text.encode()
        _, parts = runs.run(files)
        assert not tested & _sentences(parts["train"])
        tested |= _sentences(parts["test"])
        assert not _sentences(parts["test"]) & _sentences(parts["train"])


def test_the_ledger_contains_no_words_of_a_story() -> None:
    runs = Runs()
    runs.run({**_tales(range(9)), **_chapters(range(1, 12)), "long.txt": prose(77, 9000).encode()})
    assert runs.ledger is not None
    ledger = SplitLedger.model_validate_json(runs.ledger)
    for book in (ledger.stories, ledger.works, ledger.places, ledger.passages):
        assert book
        assert all(len(key) == 16 and int(key, 16) >= 0 for key in book)
