"""Measure the exponent with which the time of some work grows with the size of its input."""

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.unit.stories.fuzzing import TooSlowError, alarm

Input = TypeVar("Input")

STEEPEST = 1.3
"""Far from a square's 2 and from 1.5; on a busy machine the caches alone have made 1.23 of what is linear."""
_STEPS = (1, 2, 4)
_WORTH_MEASURING_SECONDS = 0.02
_MAX_SECONDS = 6
_MAX_DOUBLINGS = 5
_TRIES = 4


@dataclass(frozen=True)
class Growth:
    """The last measurement."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of time over size, both as logarithms: 1 is linear, 2 quadratic, 0 too fast to measure."""
        if math.inf in self.seconds:
            return math.inf
        if self.seconds[-1] < _WORTH_MEASURING_SECONDS:  # so quick at the largest size that chance decides
            return 0.0
        points = [math.log(max(seconds, 1e-4)) for seconds in self.seconds]
        return statistics.linear_regression([math.log(size) for size in self.sizes], points).slope


def growth(make: Callable[[int], Input], work: Callable[[Input], object], size: int) -> Growth:
    """Measure processor time at a size and at two and four times that size.

    A size too small to be measured is doubled first. What seems steep is measured again, each time at twice
    the size and taking the best of more rounds: on a busy machine a single figure says little, and what is
    steep indeed gets steeper.

    Args:
        make: makes an input of about so many bytes.
        work: what is measured.
        size: the smallest size.
    """
    for _ in range(_MAX_DOUBLINGS):
        if _seconds(work, make(size * _STEPS[-1])) >= _WORTH_MEASURING_SECONDS:
            break
        size *= 2
    found = Growth((), ())
    for rounds in range(1, _TRIES + 1):
        found = _measure(make, work, size, rounds)
        if found.exponent <= STEEPEST or math.inf in found.seconds:
            break
        size *= 2
    return found


def _measure(make: Callable[[int], Input], work: Callable[[Input], object], size: int, rounds: int) -> Growth:
    sizes = tuple(size * step for step in _STEPS)
    inputs = [make(size) for size in sizes]
    best = [math.inf] * len(sizes)
    # In turns, so that a slow moment of the machine affects all sizes alike.
    for _ in range(rounds):
        best = [min(seconds, _seconds(work, given)) for seconds, given in zip(best, inputs, strict=True)]
    return Growth(sizes, tuple(best))


def _seconds(work: Callable[[Input], object], given: Input) -> float:
    gc.disable()  # its time depends on what else there is
    started = time.process_time()
    try:
        with alarm(_MAX_SECONDS):
            work(given)
    except TooSlowError:
        return math.inf
    finally:
        gc.enable()
    return time.process_time() - started
