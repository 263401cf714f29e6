"""The index on disk gives the same results as dictionaries in memory."""

from array import array
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stories.dataset.record_store import ArrayTable, open_scratch_database
from stories.dataset.similarity import InvertedIndex

numbers = some.sets(some.integers(0, 12) | some.integers(0, 2**63 - 1), max_size=8)


@given(some.lists(numbers, max_size=8), some.lists(some.integers(0, 7)), some.booleans())
def test_matches_are_the_active_stories_with_the_same_number(
    stories: list[set[int]], activated: list[int], exclusive: bool
) -> None:
    with TemporaryDirectory() as folder:
        database = open_scratch_database(Path(folder) / "scratch.sqlite")
        index = InvertedIndex(database, "numbers", exclusive=exclusive)
        for position, owned in enumerate(stories):
            index.add(position, owned)
        index.build()
        owners: dict[int, set[int]] = {}
        for story in dict.fromkeys(activated):
            if story >= len(stories):
                continue
            expected = Counter(owner for number in stories[story] for owner in owners.get(number, set()))
            assert index.matches(story) == expected
            low = Counter(
                owner for number in stories[story] if number <= 6 for owner in owners.get(number, set())
            )
            assert index.matches(story, 0, 6) == low
            index.activate(story)
            for number in stories[story]:
                if not (exclusive and number in owners):
                    owners.setdefault(number, set()).add(story)
        database.close()


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays = ArrayTable(open_scratch_database(tmp_path / "scratch.sqlite"), "arrays")
    arrays[3] = array("I", [0, 2**32 - 1])
    arrays[4] = array("I")
    assert arrays[3].tolist() == [0, 2**32 - 1]
    assert not arrays[4]
    with pytest.raises(KeyError):
        arrays[5]
