import time

import pytest

from storyloom_jobs.hyperparameters import Hyperparameters
from storyloom_jobs.training.schedule import (
    TimeBudget,
    affordable_steps,
    checkpoint_interval,
    learning_rate,
    validation_interval,
)


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    settings = Hyperparameters(learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.0, abs=1e-9)


def test_steps_are_reduced_to_the_time_left() -> None:
    assert affordable_steps(100, 3, seconds_per_step=2.0, seconds_left=20.0) == 13
    assert affordable_steps(100, 3, seconds_per_step=2.0, seconds_left=9999.0) == 100
    assert affordable_steps(100, 3, seconds_per_step=2.0, seconds_left=-5.0) == 4


@pytest.mark.parametrize(
    ("total", "step_seconds", "validation_seconds", "interval"),
    [(1000, 1.0, 0.1, 125), (30, 5.0, 7.5, 15), (30, 5.0, 100.0, 30), (3, 5.0, 0.1, 1)],
)
def test_validations_take_their_share_of_the_time_and_happen_at_least_once(
    total: int, step_seconds: float, validation_seconds: float, interval: int
) -> None:
    assert validation_interval(total, step_seconds, validation_seconds, share=0.1) == interval


def test_time_of_earlier_attempts_counts() -> None:
    budget = TimeBudget(limit=100, started=time.monotonic(), spent_before=70)
    assert budget.elapsed() == pytest.approx(70, abs=1)
    assert budget.left() == pytest.approx(28, abs=1)


def test_the_checkpoint_interval_has_a_minimum_and_a_maximum() -> None:
    assert checkpoint_interval(Hyperparameters(max_seconds=60)) == 30
    assert checkpoint_interval(Hyperparameters(max_seconds=14_400)) == 300
    assert checkpoint_interval(Hyperparameters(checkpoint_seconds=5)) == 5
