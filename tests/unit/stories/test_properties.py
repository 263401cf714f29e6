"""Properties that hold for any input."""

import itertools
import json
import random
import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stories.cleaning import clean
from stories.dataset.windows import cut_windows
from stories.formats.detection import readers
from stories.records import Record, Reject
from tests.unit.stories.material import Assembled, Lines, assemble_into, prose, read, read_all, zipped

SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

suffixes = st.sampled_from([*sorted(readers()), ".docx", ""])
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
# Random bytes, and bytes that begin like a real format.
contents = st.one_of(
    st.binary(max_size=2000),
    st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(max_size=500).map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.binary(max_size=300).map(lambda tail: zipped({"a.txt": prose(1, 60).encode()})[:-30] + tail),
    st.dictionaries(names, st.binary(max_size=200), max_size=4).map(zipped),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=50),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["text", "title", "messages", "role", "content", "prompt"]), inner, max_size=3
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
files = st.dictionaries(
    st.tuples(st.text(min_size=1, max_size=12), suffixes).map("".join), contents, max_size=6
)


@QUICK
@given(suffixes, contents)
def test_no_bytes_crash_a_reader(suffix: str, content: bytes) -> None:
    lines = read(f"any{suffix}", content)
    assert lines
    for line in lines:
        assert isinstance(line, Record) or (line.reason and line.cure)


@SLOW
@given(files)
def test_every_file_is_kept_or_rejected(dropped: dict[str, bytes]) -> None:
    report, _ = _assemble(read_all(dropped))
    rejected = {reject.source_key for reject in report.rejected}
    kept_nothing = {
        key for key in dropped if not any(isinstance(line, Record) for line in read(key, dropped[key]))
    }
    assert report.files == len(dropped) == report.kept + len(kept_nothing)
    assert kept_nothing <= rejected


@QUICK
@given(suffixes, contents)
def test_every_character_of_a_story_is_kept_or_its_removal_is_recorded(suffix: str, content: bytes) -> None:
    for line in read(f"any{suffix}", content):
        if isinstance(line, Record):
            _check_characters(line)


paragraphs = st.one_of(
    st.lists(st.text("abcdeFG.,-\u00ad “”é", min_size=1, max_size=14), min_size=1, max_size=60).map(" ".join),
    st.sampled_from(
        ["CHAPTER I", "Chapter 2: The Well", "* * *", "12", "Contents", "by Dorcas Thrupp", "The Well"]
    ),
    st.integers(0, 9).map(lambda seed: prose(seed, 40)),
)


@QUICK
@given(st.lists(paragraphs, max_size=14), st.sampled_from(["\n\n", "\n", "\r\n\r\n", "\f"]))
def test_every_character_of_a_text_is_in_a_story_or_a_reject(parts: list[str], between: str) -> None:
    text = between.join(parts)
    lines = read("any.txt", text.encode())
    if not text.strip():
        return
    read_characters = sum(
        line.characters_read if isinstance(line, Record) else line.characters for line in lines
    )
    assert read_characters == len(text)
    for line in lines:
        if isinstance(line, Record):
            _check_characters(line)


def _check_characters(record: Record) -> None:
    kept = len(record.text) + (len(record.title) if record.title_read else 0)
    if record.messages is not None:
        return
    assert record.characters_read - sum(change.removed for change in record.changes) == kept


@QUICK
@given(st.text(max_size=800))
def test_cleaning_what_is_clean_changes_nothing(text: str) -> None:
    cleaned = clean(text).text
    assert clean(cleaned).text == cleaned


@QUICK
@given(
    st.lists(
        st.lists(st.text("abcdeFG.,- ", min_size=1, max_size=12), min_size=1, max_size=40),
        min_size=1,
        max_size=8,
    ),
    st.integers(56, 99),
)
def test_cleaning_wrapped_text_twice_changes_nothing_and_keeps_every_letter(
    paragraphs: list[list[str]], width: int
) -> None:
    text = "\n\n".join(_wrap(words, width) for words in paragraphs)
    cleaned = clean(text).text
    assert clean(cleaned).text == cleaned
    assert re.sub(r"[\s-]", "", cleaned) == re.sub(r"[\s-]", "", text)


@QUICK
@given(st.text(max_size=1500), st.integers(1, 200), st.sampled_from(["en", "de", "und"]))
def test_windows_are_the_whole_text(text: str, max_tokens: int, language: str) -> None:
    windows = cut_windows(text, max_tokens, language)
    assert "".join(windows) == text
    assert all(windows)


@SLOW
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20), st.randoms(use_true_random=False), st.booleans()
)
def test_the_order_of_reading_does_not_matter(seeds: list[int], shuffler: random.Random, chat: bool) -> None:
    dropped = {f"tale-{chr(97 + number)}.txt": prose(seed, 200).encode() for number, seed in enumerate(seeds)}
    lines = read_all(dropped)
    shuffled = lines.copy()
    shuffler.shuffle(shuffled)
    assert _assemble(lines, chat=chat) == _assemble(shuffled, chat=chat)


@SLOW
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(3, 60)), min_size=8, max_size=24),
    st.sampled_from(["tale-of-{}.txt", "book/chapter-{}.txt"]),
)
def test_no_near_duplicate_crosses_the_split(stories: list[tuple[int, int]], name: str) -> None:
    dropped = {
        name.format(f"{chr(97 + number)}" if "tale" in name else number): _revised(
            prose(seed, 240), every
        ).encode()
        for number, (seed, every) in enumerate(stories)
    }
    _, parts = _assemble(read_all(dropped))
    train, held_out = _stories(parts["train"]), _stories(parts["validation"]) + _stories(parts["test"])
    for one, other in itertools.product(train, held_out):
        # The sketch estimates 0.5 with a standard error of 0.044.
        assert _similarity(one, other) < 0.5 + 4 * 0.044


def _assemble(lines: Lines, **changes: object) -> Assembled:
    with tempfile.TemporaryDirectory() as folder:
        return assemble_into(Path(folder), lines, **changes)


def _wrap(words: list[str], width: int) -> str:
    lines, line = [], ""
    for word in " ".join(words).split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


def _revised(text: str, every: int) -> str:
    words = text.split(" ")
    return " ".join(
        f"new{every}" if number % every == every - 1 else word for number, word in enumerate(words)
    )


def _stories(part: bytes) -> list[str]:
    told: dict[str, str] = {}
    for line in part.splitlines():
        example = json.loads(line)
        told[example["story_id"]] = (
            told.get(example["story_id"], "") + " " + example["messages"][-1]["content"]
        )
    return list(told.values())


def _similarity(one: str, other: str) -> float:
    first, second = _shingles(one), _shingles(other)
    return len(first & second) / max(1, len(first | second))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def test_a_reject_is_never_silent() -> None:
    assert all(isinstance(line, Reject) and line.cure for line in read("x.bin", b""))
