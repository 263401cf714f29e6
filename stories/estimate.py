"""What training will take and cost, before a machine is paid for."""

from dataclasses import dataclass

PRICE_DATE = "2026-09"


@dataclass(frozen=True)
class Instance:
    """A SageMaker training instance."""

    usd_per_hour: float
    """On demand, us-east-1. Spot is often less than half of it."""
    teraflops: float
    """Dense bfloat16, from its maker."""


INSTANCES = {
    "ml.g6.xlarge": Instance(usd_per_hour=1.13, teraflops=121),
    "ml.g5.xlarge": Instance(usd_per_hour=1.41, teraflops=70),
    "ml.g6e.xlarge": Instance(usd_per_hour=2.61, teraflops=362),
}

# What a plain training loop reaches of a GPU's peak, and the work of a token: two operations a parameter
# forward, two backward through frozen weights, two to compute activations again.
_UTILISATION = 0.25
_OPERATIONS_PER_PARAMETER = 6
_START_MINUTES = 5.0
_EVALUATION_MINUTES = 10.0


@dataclass(frozen=True)
class Estimate:
    """What training takes."""

    minutes: float
    """Of training; the limit where the instance's speed is not known."""
    cost_usd: float | None
    """Of training and evaluation; None where the price is not known."""


def estimate(tokens: int, parameters_millions: int, instance: str, most_minutes: float) -> Estimate:
    """Estimate training time and cost.

    Args:
        tokens: of all epochs.
        parameters_millions: size of the base model.
        instance: SageMaker instance type.
        most_minutes: when training ends by itself.
    """
    known = INSTANCES.get(instance)
    if known is None:
        return Estimate(most_minutes, None)
    operations = tokens * parameters_millions * 1e6 * _OPERATIONS_PER_PARAMETER
    minutes = _START_MINUTES + operations / (known.teraflops * 1e12 * _UTILISATION) / 60
    minutes = round(min(minutes, most_minutes), 1)
    return Estimate(minutes, round((minutes + _EVALUATION_MINUTES) / 60 * known.usd_per_hour, 2))
