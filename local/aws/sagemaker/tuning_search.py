"""The search of a tuning job: hyperparameters to try, the best trial, and early stopping."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

from local.aws.errors import invalid
from local.aws.sagemaker.record_store import Record

_ENDED = ("Completed", "Failed", "Stopped")
_ENOUGH_TO_COMPARE = 2
"""Trials that must have ended before another may be stopped for being worse."""


@dataclass
class TuningTrial:
    """One training job of the search."""

    name: str
    chosen: dict[str, str]
    status: str = "InProgress"
    history: list[float] = field(default_factory=list)
    """Every value of the objective metric so far."""
    _last_seen: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether its training job has not ended."""
        return self.status not in _ENDED

    @property
    def objective_status(self) -> str:
        """The status of its objective, in SageMaker's words."""
        if self.is_active:
            return "Pending"
        return "Succeeded" if self.history else "Failed"

    def update(self, record: Record, metric: str) -> None:
        """Update the trial from its training job."""
        self.status = str(record.get("TrainingJobStatus", "Failed"))
        for datum in record.get("FinalMetricDataList", []):
            if datum["MetricName"] == metric and datum["Timestamp"] > self._last_seen:
                self._last_seen = float(datum["Timestamp"])
                if math.isfinite(datum["Value"]):
                    self.history.append(float(datum["Value"]))


def best_trial(trials: Sequence[TuningTrial], minimize: bool) -> TuningTrial | None:
    """Return the trial with the best last value of the objective; None if no trial has a value."""
    measured = [trial for trial in trials if trial.history]
    if not measured:
        return None
    return (min if minimize else max)(measured, key=lambda trial: trial.history[-1])


def should_stop_early(history: Sequence[float], ended: Sequence[Sequence[float]], *, minimize: bool) -> bool:
    """Apply SageMaker's median rule for early stopping.

    A trial stops if its objective is worse than the median of the running averages of the trials before it,
    up to the same number of measurements.
    """
    so_far = [mean(other[: len(history)]) for other in ended if history and len(other) >= len(history)]
    if len(so_far) < _ENOUGH_TO_COMPARE:
        return False
    middle = median(so_far)
    return history[-1] > middle if minimize else history[-1] < middle


def points(ranges: Record, seed: int) -> Iterator[dict[str, str]]:
    """Yield hyperparameters to try, without end, as the strings that a training job gets.

    Args:
        ranges: the request's `ParameterRanges`.
        seed: the same one gives the same points.

    Raises:
        AwsError: a range is empty, or there is none.
    """
    axes = [
        *(("Integer", one) for one in ranges.get("IntegerParameterRanges", [])),
        *(("Continuous", one) for one in ranges.get("ContinuousParameterRanges", [])),
        *(("Categorical", one) for one in ranges.get("CategoricalParameterRanges", [])),
    ]
    if not axes:
        raise invalid("A tuning job needs at least one range in ParameterRanges.")
    for kind, axis in axes:
        if kind != "Categorical":
            _bounds(axis)
    from scipy.stats import qmc  # type: ignore[import-untyped]  # noqa: PLC0415 (seconds)

    sobol = qmc.Sobol(len(axes), rng=seed)
    return _walk(sobol, axes)


def _walk(sobol: Any, axes: Sequence[tuple[str, Record]]) -> Iterator[dict[str, str]]:
    while True:
        for point in sobol.random(1):
            yield {
                axis["Name"]: _value(kind, axis, float(at))
                for (kind, axis), at in zip(axes, point, strict=True)
            }


def _value(kind: str, axis: Record, at: float) -> str:
    """Return the value `at` (0 to 1) of the way through a range."""
    if kind == "Categorical":
        values: list[str] = axis["Values"]
        return values[min(int(at * len(values)), len(values) - 1)]
    low, high = _bounds(axis)
    whole = kind == "Integer"
    if whole:  # each whole number gets the same share
        low, high = low - 0.5 * (low > 0.5), high + 0.5
    if axis.get("ScalingType") == "Logarithmic":
        value = math.exp(math.log(low) + at * (math.log(high) - math.log(low)))
    else:
        value = low + at * (high - low)
    if not whole:
        return repr(value)
    return str(min(max(round(value), int(axis["MinValue"])), int(axis["MaxValue"])))


def _bounds(axis: Record) -> tuple[float, float]:
    name = axis["Name"]
    try:
        low, high = float(axis["MinValue"]), float(axis["MaxValue"])
    except ValueError as error:
        raise invalid(f"The range of {name} is not made of numbers: {error}") from error
    if not low < high:
        raise invalid(f"The range of {name} is empty: MinValue {low:g} must be below MaxValue {high:g}.")
    if axis.get("ScalingType") == "Logarithmic" and low <= 0:
        raise invalid(f"The range of {name} cannot be logarithmic: MinValue {low:g} is not above 0.")
    return low, high
