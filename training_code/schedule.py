"""How many steps there is time for, how fast to learn at each, and when to look at the validation loss."""

import math
import time
from dataclasses import dataclass

from training_code.hyperparameters import Hyperparameters

MOST_VALIDATIONS = 8
SHUTDOWN_SHARE = 0.02
"""Share of the time kept back for writing the adapter."""


@dataclass(frozen=True)
class TimeBudget:
    """The seconds a job may take, counted over all its attempts (a spot interruption does not reset it)."""

    limit: float
    started: float
    """`time.monotonic()` when this attempt began."""
    spent_before: float = 0.0

    def elapsed(self) -> float:
        """Seconds used so far."""
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> float:
        """Seconds left for training; what is needed to write the result is not counted."""
        return self.limit * (1 - SHUTDOWN_SHARE) - self.elapsed()


@dataclass
class Pace:
    """The mean time of a step, leaving out the first, in which memory is allocated and kernels are chosen."""

    steps: int = 0
    first: float = 0.0
    others: float = 0.0
    """Seconds of all steps but the first."""

    def add(self, seconds: float) -> None:
        """Count one more step."""
        self.steps += 1
        if self.steps == 1:
            self.first = seconds
        else:
            self.others += seconds

    @property
    def seconds_per_step(self) -> float:
        """0 before the first step."""
        return self.others / (self.steps - 1) if self.steps > 1 else self.first


def learning_rate(step: int, total: int, settings: Hyperparameters) -> float:
    """Rises in a line over the warm-up, then falls along a cosine to zero at step `total`."""
    warmup = max(1, round(total * settings.warmup_fraction))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def affordable_steps(planned: int, done: int, seconds_per_step: float, seconds_left: float) -> int:
    """The planned steps, or as many as the time left allows at the pace measured (at least one more)."""
    return min(planned, done + max(1, int(seconds_left / max(seconds_per_step, 1e-9))))


def validation_interval(total: int, seconds_per_step: float, validation_seconds: float, share: float) -> int:
    """Steps between two measurements of the validation loss, which together may take `share` of the time.

    A fixed interval would never come round on a small dataset and be far too often on a slow machine.
    """
    affordable = share * total * seconds_per_step / max(validation_seconds, 1e-9)
    times = max(1, min(MOST_VALIDATIONS, int(affordable)))
    return max(1, math.ceil(total / times))


def checkpoint_interval(settings: Hyperparameters) -> float:
    """Seconds between checkpoints: a sixth of the time, but no less than 30 s and no more than 5 minutes."""
    return settings.checkpoint_seconds or min(300.0, max(30.0, settings.max_seconds / 6))
