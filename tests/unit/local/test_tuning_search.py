"""The search of a tuning job, without any job."""

import itertools
from statistics import median

import pytest

from local.aws.errors import AwsError
from local.aws.sagemaker.tuning_search import TuningTrial, best_trial, points, should_stop_early

RANGES = {
    "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "4"}],
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "1e-5", "MaxValue": "1e-3", "ScalingType": "Logarithmic"}
    ],
    "CategoricalParameterRanges": [{"Name": "lora_rank", "Values": ["8", "16", "32"]}],
}


def test_the_points_cover_every_range_evenly() -> None:
    tried = list(itertools.islice(points(RANGES, seed=3), 64))
    for name, values in (("epochs", ["1", "2", "3", "4"]), ("lora_rank", ["8", "16", "32"])):
        counts = [sum(point[name] == value for point in tried) for value in values]
        assert sum(counts) == 64
        assert max(counts) - min(counts) <= 3, (name, counts)
    rates = [float(point["learning_rate"]) for point in tried]
    assert 1e-5 <= min(rates) < 1.2e-5
    assert 9e-4 < max(rates) <= 1e-3
    assert 0.8e-4 < median(rates) < 1.25e-4, "half of a logarithmic range lies below its geometric middle"


def test_the_same_seed_tries_the_same() -> None:
    first, again, other = (list(itertools.islice(points(RANGES, seed), 5)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ({}, "at least one range"),
        (
            {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "4", "MaxValue": "1"}]},
            "epochs is empty",
        ),
        (
            {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "a", "MaxValue": "1"}]},
            "x is not made of numbers",
        ),
        (
            {
                "ContinuousParameterRanges": [
                    {"Name": "x", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}
                ]
            },
            "cannot be logarithmic",
        ),
    ],
)
def test_a_wrong_range_is_refused(ranges: dict[str, list[dict[str, str]]], why: str) -> None:
    with pytest.raises(AwsError, match=why):
        points(ranges, seed=0)


def test_the_median_rule() -> None:
    ended = [[5.0, 3.0, 2.0], [6.0, 4.0, 3.0]]  # running averages after two: 4.0 and 5.0
    assert not should_stop_early([9.0, 4.4], ended, minimize=True)
    assert should_stop_early([9.0, 4.6], ended, minimize=True)
    assert not should_stop_early([9.0, 4.6], ended[:1], minimize=True), "one trial is nothing to compare with"
    assert not should_stop_early([], ended, minimize=True)
    assert should_stop_early([9.0, 4.4], ended, minimize=False)


def test_the_best_has_the_best_last_value() -> None:
    trials = [
        TuningTrial("a", {}, history=[1.0, 3.0]),
        TuningTrial("b", {}, history=[9.0, 2.0]),
        TuningTrial("c", {}),
    ]
    best = best_trial(trials, minimize=True)
    assert best is not None
    assert best.name == "b"
    assert best_trial(trials[2:], minimize=True) is None
