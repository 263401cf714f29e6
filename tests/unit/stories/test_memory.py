"""Memory of assembling a dataset hardly grows with the number and length of stories."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from stories.dataset.assembly import assemble
from stories.records import Record, Reject
from tests.unit.stories.material import options, prose, read


def _stories(count: int, words: int) -> Iterator[Record | Reject]:
    for number in range(count):
        yield from read(f"story-of-{number}-things.txt", prose(number, words).encode())


def _peak(folder: Path, count: int, words: int) -> int:
    """Return the peak memory of Python, in bytes, while it assembles a number of stories."""
    folder.mkdir()
    tracemalloc.start()
    try:
        assemble(_stories(count, words), options(), folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("words", "few", "many", "kilobytes"),
    [(60, 20, 140, 4), (4_000, 2, 8, 8)],
    ids=["short stories", "long ones"],
)
def test_each_further_story_takes_a_few_kilobytes(
    tmp_path: Path, words: int, few: int, many: int, kilobytes: int
) -> None:
    list(_stories(1, words))  # loads what reading needs
    least, most = _peak(tmp_path / "few", few, words), _peak(tmp_path / "many", many, words)
    assert (most - least) / (many - few) < kilobytes * 1000
