"""Plans a training: the rows of each step, the learning rate, when to validate, how many steps fit the
time."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storyloom_jobs.hyperparameters import Hyperparameters

MAX_VALIDATIONS = 8
SHUTDOWN_SHARE = 0.02
"""Share of the time reserved for writing the adapter."""

OPEN_BINS = 8
"""Unfinished bins; a row goes into the first one that has room for it."""
PAIRING_WINDOW = 16
"""Half steps among which pairs of about the same length are formed."""


@dataclass(frozen=True)
class TimeBudget:
    """Seconds that a job may take, over all its attempts: a spot interruption does not reset them."""

    limit: float
    started: float
    """`time.monotonic()` at the start of this attempt."""
    spent_before: float = 0.0

    def elapsed(self) -> float:
        """Return the seconds used so far."""
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> float:
        """Return the seconds left for training, without those reserved for writing the result."""
        return self.limit * (1 - SHUTDOWN_SHARE) - self.elapsed()


@dataclass
class Pace:
    """Mean time of a step, without the first step, which allocates memory and chooses kernels."""

    steps: int = 0
    first: float = 0.0
    others: float = 0.0
    """Seconds of all steps except the first."""

    def add(self, seconds: float) -> None:
        """Add one step."""
        self.steps += 1
        if self.steps == 1:
            self.first = seconds
        else:
            self.others += seconds

    @property
    def seconds_per_step(self) -> float:
        """Return the mean time of a step; 0 before the first step."""
        return self.others / (self.steps - 1) if self.steps > 1 else self.first


def learning_rate(step: int, total: int, settings: Hyperparameters) -> float:
    """Compute the learning rate: linear warm-up, then cosine decay to zero at step `total`."""
    warmup = max(1, round(total * settings.warmup_fraction))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def affordable_steps(planned: int, done: int, seconds_per_step: float, seconds_left: float) -> int:
    """Return the planned steps, or fewer if the time left does not allow them (at least one more)."""
    return min(planned, done + max(1, int(seconds_left / max(seconds_per_step, 1e-9))))


def validation_interval(total: int, seconds_per_step: float, validation_seconds: float, share: float) -> int:
    """Compute the steps between two validations, so that all validations take at most `share` of the time.

    A fixed interval would never be reached on a small dataset, and would be far too short on a slow machine.
    """
    affordable = share * total * seconds_per_step / max(validation_seconds, 1e-9)
    times = max(1, min(MAX_VALIDATIONS, int(affordable)))
    return max(1, math.ceil(total / times))


def checkpoint_interval(settings: Hyperparameters) -> float:
    """Return the seconds between checkpoints: a sixth of the time, at least 30 s and at most 5 minutes."""
    return settings.checkpoint_seconds or min(300.0, max(30.0, settings.max_seconds / 6))


def plan_steps(lengths: Sequence[int], batch_tokens: int, epochs: int, seed: int) -> list[list[int]]:
    """Plan the row numbers of every step of the training; the same for the same arguments.

    A step has rows of at most `batch_tokens` tokens in total, or a single row. If two of the longest rows
    fit, a step consists of two halves of about the same length, so that two processes hardly wait for each
    other. The plan does not depend on the number of processes.
    """
    shuffle = random.Random(seed)  # noqa: S311 (order of stories, not a secret)
    in_halves = 2 * max(lengths, default=0) <= batch_tokens
    steps: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(len(lengths)))
        shuffle.shuffle(order)
        if in_halves:
            steps += _paired(list(_first_fit(order, lengths, batch_tokens // 2)), lengths)
        else:
            steps += _first_fit(order, lengths, batch_tokens)
    return steps


def _first_fit(order: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Fill bins nearly full without sorting the rows, so that each bin is a fair sample of all lengths."""
    unfinished: list[list[int]] = []
    room: list[int] = []
    for row in order:
        fitting = next((n for n, left in enumerate(room) if lengths[row] <= left), None)
        if fitting is not None:
            unfinished[fitting].append(row)
            room[fitting] -= lengths[row]
            continue
        if len(unfinished) == OPEN_BINS:
            fullest = min(range(OPEN_BINS), key=room.__getitem__)
            yield unfinished.pop(fullest)
            room.pop(fullest)
        unfinished.append([row])
        room.append(tokens - lengths[row])
    yield from unfinished


def _paired(halves: Sequence[list[int]], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Pair halves of similar length that are close in the order; the last step may be a single half."""
    for start in range(0, len(halves), PAIRING_WINDOW):
        near = range(start, min(start + PAIRING_WINDOW, len(halves)))
        by_length = sorted(near, key=lambda half: sum(lengths[row] for row in halves[half]))
        pairs = (sorted(by_length[first : first + 2]) for first in range(0, len(by_length), 2))
        for pair in sorted(pairs):
            yield [row for half in pair for row in halves[half]]
