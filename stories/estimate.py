"""What training will take and cost, before a machine is paid for."""

from dataclasses import dataclass

AT_REST_USD = 0.30
"""US dollars a month for the deployed app if nobody uses it; docs/costs.md adds them up."""
AT_REST_NOT_FREE_USD = 3.60
"""US dollars a month more if the account uses its free alarms and dashboards elsewhere."""

GRACE_MINUTES = 30
"""What loading and saving get beside the limit of training, before SageMaker stops the job."""
SPOT_WAIT_HOURS = 8
"""How long a job may wait for spot machines beside its own time."""
LONGEST_EVALUATION_MINUTES = 120
"""When SageMaker stops the evaluation."""


@dataclass(frozen=True)
class Instance:
    """A SageMaker training instance."""

    teraflops: float
    """Dense bfloat16, from its maker."""
    gigabytes_per_second: float
    """How fast it reads its memory, from its maker."""


INSTANCES = {
    "ml.g6.xlarge": Instance(teraflops=121, gigabytes_per_second=300),
    "ml.g5.xlarge": Instance(teraflops=70, gigabytes_per_second=600),
    "ml.g6e.xlarge": Instance(teraflops=362, gigabytes_per_second=864),
}

# Spot prices change by the hour and are often a third of those on demand: half errs on the dear side.
_SPOT_SHARE = 0.5

# What a plain training loop reaches of a GPU's peak, and the work of a token: two operations a parameter
# forward, two backward through frozen weights, two to compute activations again.
_UTILISATION = 0.25
_OPERATIONS_PER_PARAMETER = 6
# For each token of an answer all weights are read once, two bytes a parameter, for all answers that are
# written at the same time. Half of what the memory could do is what is counted on, and no more than a hundred
# tokens a second of each answer: reading is not all there is to do.
_READING_SHARE = 0.5
_MOST_TOKENS_OF_AN_ANSWER = 100.0
_START_MINUTES = 5.0
_EVALUATION_MINUTES = 10.0


@dataclass(frozen=True)
class Estimate:
    """What training takes. Costs are of training and evaluation, None where the price is not known."""

    minutes: float
    """Of training; the limit where the instance's speed or the model's size is not known."""
    on_demand_usd: float | None
    spot_usd: float | None
    """Training on spot; evaluation never is."""
    at_most_usd: float | None
    """On demand until SageMaker stops both jobs."""


def estimate(
    tokens: int,
    parameters_millions: int,
    instance: str,
    most_minutes: float,
    instances: int = 1,
    *,
    usd_per_hour: float | None = None,
) -> Estimate:
    """Estimate training time and cost.

    Args:
        tokens: of all epochs.
        parameters_millions: size of the base model; 0 where it is not known.
        instance: SageMaker instance type.
        most_minutes: when training ends by itself.
        instances: how many train together. One evaluates.
        usd_per_hour: price of one instance, on demand; None if it is not known.
    """
    known = INSTANCES.get(instance)
    minutes = most_minutes
    if known is not None and parameters_millions:
        operations = tokens * parameters_millions * 1e6 * _OPERATIONS_PER_PARAMETER
        needed = _START_MINUTES + operations / (instances * known.teraflops * 1e12 * _UTILISATION) / 60
        minutes = round(min(needed, most_minutes), 1)
    longest = instances * (most_minutes + GRACE_MINUTES) + LONGEST_EVALUATION_MINUTES
    paid = instances * minutes
    return Estimate(
        minutes=minutes,
        on_demand_usd=_usd(paid + _EVALUATION_MINUTES, usd_per_hour),
        spot_usd=_usd(paid * _SPOT_SHARE + _EVALUATION_MINUTES, usd_per_hour),
        at_most_usd=_usd(longest, usd_per_hour),
    )


def answer_tokens_per_second(parameters_millions: int, instance: str, at_once: int) -> float | None:
    """Estimate how fast a model writes; None where the instance or the model's size is not known.

    Args:
        parameters_millions: size of the base model; 0 where it is not known.
        instance: SageMaker instance type.
        at_once: how many answers are written at the same time.
    """
    known = INSTANCES.get(instance)
    if known is None or not parameters_millions:
        return None
    weights_gb = 2 * parameters_millions / 1000
    of_each = min(_READING_SHARE * known.gigabytes_per_second / weights_gb, _MOST_TOKENS_OF_AN_ANSWER)
    return round(at_once * of_each, 1)


def _usd(minutes: float, usd_per_hour: float | None) -> float | None:
    return None if usd_per_hour is None else round(minutes / 60 * usd_per_hour, 2)
