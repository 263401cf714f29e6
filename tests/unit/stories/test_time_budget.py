"""Assembling a dataset that would exceed its time limit stops early and gives the reason."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stories.dataset.assembly import assemble
from stories.dataset.time_budget import DatasetTimeBudget, TimeBudgetExceededError
from stories.records import Record
from tests.unit.stories.material import Lines, only_record, options, prose, read

Clock = Callable[[], float]


def _ticking(seconds: float) -> Clock:
    """Return a clock that advances by a number of seconds whenever it is read."""
    return itertools.count(0.0, seconds).__next__


def _near_copies(count: int) -> Iterator[Record]:
    record = only_record(read("one.txt", prose(1, 60).encode()))
    for number in range(count):
        text = record.text.replace("the", f"the {number}", 3)
        yield record.model_copy(update={"text": text, "source_key": f"{number}.txt", "id": f"{number:016x}"})


def _assemble(folder: Path, lines: Lines, budget: DatasetTimeBudget) -> str:
    with pytest.raises(TimeBudgetExceededError) as ended:
        assemble(lines, options(), folder, budget=budget)
    assert not list(folder.glob("*.sqlite")), "the scratch files are gone"
    return str(ended.value)


def test_the_end_is_predicted_long_before_the_time_is_over(tmp_path: Path) -> None:
    """At a second a story, a minute is enough to predict that 1,000 need over twice the time left."""
    clock = _ticking(1)
    told = _assemble(tmp_path, list(_near_copies(1000)), DatasetTimeBudget(3400, clock))
    assert clock() < 3080, "little more than a minute after reading and preparing them"
    for words in (
        "stories were compared with each other, 59 a minute",
        "of 1,000",
        "need about 16 minutes more, and 6 minutes are left",
        "nothing was spent on a GPU",
        "storyloom check",
        "storyloom start",
    ):
        assert words in told


def test_without_a_forecast_it_ends_at_the_limit(tmp_path: Path) -> None:
    told = _assemble(tmp_path, list(_near_copies(50)), DatasetTimeBudget(30, _ticking(1)))
    assert "28 stories were read, 58 a minute. The time limit of 1 minute is reached." in told


def test_a_dataset_that_is_ready_in_time_is_the_same_with_a_budget(tmp_path: Path) -> None:
    made = []
    for name, budget in (("without", None), ("with", DatasetTimeBudget(600))):
        (tmp_path / name).mkdir()
        report = assemble(list(_near_copies(40)), options(minimum_words=1), tmp_path / name, budget=budget)
        made.append(report)
    assert made[0] == made[1]


def test_a_slow_start_does_not_end_the_dataset(tmp_path: Path) -> None:
    """The first items may be slower than later ones: only a forecast of twice the time left ends it."""
    times = itertools.chain([0.0], itertools.repeat(50.0, 11), itertools.count(61.0, 0.01))
    budget = DatasetTimeBudget(110, times.__next__)
    assert list(budget.track(range(20), "stories were compared", total=20)) == list(range(20))
