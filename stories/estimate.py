"""Estimate the time and cost of training, before anything is paid for."""

from dataclasses import dataclass

AT_REST_USD = 0.30
"""Cost of the deployed app in US dollars a month if nobody uses it; docs/costs.md lists the items."""
AT_REST_NOT_FREE_USD = 3.60
"""Further US dollars a month if the account uses its free alarms and dashboards elsewhere."""

GRACE_MINUTES = 30
"""Time for loading and saving beyond the limit of training, before SageMaker stops the job."""
SPOT_WAIT_HOURS = 8
"""How long a job may wait for spot instances in addition to its own time."""
LONGEST_EVALUATION_MINUTES = 120
"""Time limit after which SageMaker stops the evaluation."""


@dataclass(frozen=True)
class Instance:
    """A SageMaker training instance."""

    teraflops: float
    """Dense bfloat16 performance, from its maker."""
    gigabytes_per_second: float
    """Memory bandwidth, from its maker."""


INSTANCES = {
    "ml.g6.xlarge": Instance(teraflops=121, gigabytes_per_second=300),
    "ml.g5.xlarge": Instance(teraflops=70, gigabytes_per_second=600),
    "ml.g6e.xlarge": Instance(teraflops=362, gigabytes_per_second=864),
}

# Spot prices change by the hour and are often a third of the on-demand price: half is on the safe side.
_SPOT_SHARE = 0.5

# Share of a GPU's peak that a plain training loop reaches, and operations for each token and parameter: two
# forward, two backward through frozen weights, two to recompute activations.
_UTILISATION = 0.25
_OPERATIONS_PER_PARAMETER = 6
# Each token reads all weights once, two bytes a parameter, for all answers that are generated at the same time.
# The estimate counts on half of the memory bandwidth and at most a hundred tokens a second for each answer,
# because reading weights is not all the work.
_READING_SHARE = 0.5
_MAX_TOKENS_OF_AN_ANSWER = 100.0
_START_MINUTES = 5.0
_EVALUATION_MINUTES = 10.0


@dataclass(frozen=True)
class Estimate:
    """Time and cost of training. Costs include the evaluation and are None if the price is not known."""

    minutes: float
    """Training time; the time limit if the instance's speed or the model's size is not known."""
    on_demand_usd: float | None
    spot_usd: float | None
    """With training on spot; the evaluation always runs on demand."""
    at_most_usd: float | None
    """On demand, if both jobs run until SageMaker stops them."""


def estimate(
    tokens: int,
    parameters_millions: int,
    instance: str,
    max_minutes: float,
    instances: int = 1,
    *,
    usd_per_hour: float | None = None,
) -> Estimate:
    """Estimate training time and cost.

    Args:
        tokens: tokens of all epochs together.
        parameters_millions: size of the base model; 0 if it is not known.
        instance: SageMaker instance type.
        max_minutes: time limit of the training.
        instances: how many train together; one evaluates.
        usd_per_hour: price of one instance, on demand; None if it is not known.
    """
    known = INSTANCES.get(instance)
    minutes = max_minutes
    if known is not None and parameters_millions:
        operations = tokens * parameters_millions * 1e6 * _OPERATIONS_PER_PARAMETER
        needed = _START_MINUTES + operations / (instances * known.teraflops * 1e12 * _UTILISATION) / 60
        minutes = round(min(needed, max_minutes), 1)
    longest = instances * (max_minutes + GRACE_MINUTES) + LONGEST_EVALUATION_MINUTES
    paid = instances * minutes
    return Estimate(
        minutes=minutes,
        on_demand_usd=_usd(paid + _EVALUATION_MINUTES, usd_per_hour),
        spot_usd=_usd(paid * _SPOT_SHARE + _EVALUATION_MINUTES, usd_per_hour),
        at_most_usd=_usd(longest, usd_per_hour),
    )


def answer_tokens_per_second(parameters_millions: int, instance: str, at_once: int) -> float | None:
    """Estimate how fast a model generates; None if the instance or the model's size is not known.

    Args:
        parameters_millions: size of the base model; 0 if it is not known.
        instance: SageMaker instance type.
        at_once: how many answers are generated at the same time.
    """
    known = INSTANCES.get(instance)
    if known is None or not parameters_millions:
        return None
    weights_gb = 2 * parameters_millions / 1000
    of_each = min(_READING_SHARE * known.gigabytes_per_second / weights_gb, _MAX_TOKENS_OF_AN_ANSWER)
    return round(at_once * of_each, 1)


def _usd(minutes: float, usd_per_hour: float | None) -> float | None:
    return None if usd_per_hour is None else round(minutes / 60 * usd_per_hour, 2)
