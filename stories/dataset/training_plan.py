"""Choose how a base model is trained on a dataset, and estimate time and cost before they are spent."""

import math
from dataclasses import dataclass
from typing import Protocol

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
class DatasetOptions:
    """The model, the job and the limits that a dataset is made for."""

    run_id: str
    chat: bool
    """Whether the base model is a chat model."""
    sequence_length: int
    """Length of a training sequence, in tokens."""
    epochs: int
    minimum_words: int
    parameters_millions: int
    instance: str
    """SageMaker training instance type."""
    max_minutes: float
    """Time limit of the training."""
    base_model: str = ""
    """Name of the base model, for the report."""
    spot: bool = False
    """Whether training runs on spot instances, which cost less."""
    instances: int = 1
    """How many instances train together."""
    usd_per_hour: float | None = None
    """Price of one instance, on demand; None if it is not known."""
    price_month: str = ""
    """Month of the price, such as `2026-09`."""
    price_source: str = ""
    """Source of the price, in plain words."""


class OpenModel(Protocol):
    """The properties of a base model that the dataset depends on."""

    @property
    def name(self) -> str:
        """Name in the settings."""

    @property
    def chat(self) -> bool:
        """Whether it is a chat model."""

    @property
    def context_length(self) -> int:
        """Context length, in tokens."""

    @property
    def parameters_millions(self) -> int:
        """Size in millions of parameters; 0 if it is not known."""


class TrainingLimits(Protocol):
    """The settings of the training job that the dataset depends on."""

    @property
    def minimum_words(self) -> int:
        """Words that training needs."""

    @property
    def training_instance(self) -> str:
        """SageMaker training instance type."""

    @property
    def instance_count(self) -> int:
        """How many instances train together."""

    @property
    def spot(self) -> bool:
        """Whether training runs on spot instances."""

    @property
    def max_training_minutes(self) -> int:
        """Time limit of the training."""


class InstancePrice(Protocol):
    """The price of one training instance, on demand."""

    @property
    def usd_per_hour(self) -> float:
        """US dollars an hour."""

    @property
    def month(self) -> str:
        """When it was read, such as `2026-09`."""

    @property
    def source(self) -> str:
        """Where it is from, in plain words."""


@dataclass(frozen=True)
class Recipe:
    """What is fixed when the dataset is made; the training job chooses the rest (docs/decisions/0006)."""

    sequence_length: int
    """Length of a training sequence in tokens, for which the examples are cut."""
    max_seconds: int
    seed: int


_LENGTHS = ((200, 512), (500, 1024), (math.inf, 2048))
"""Sequence length in tokens by maximum size in millions of parameters: larger models use longer passages."""
_SEED = 17

MAX_EPOCHS = 4
"""The training job chooses at most this many, so the estimate is on the safe side."""


def choose_recipe(model: OpenModel, max_training_minutes: int) -> Recipe:
    """Choose the sequence length, time limit and seed for a model."""
    length = next(length for most, length in _LENGTHS if model.parameters_millions <= most)
    return Recipe(
        sequence_length=min(length, model.context_length),
        max_seconds=max_training_minutes * 60,
        seed=_SEED,
    )


def dataset_options(
    run_id: str, model: OpenModel, limits: TrainingLimits, price: InstancePrice | None = None
) -> DatasetOptions:
    """Return the options of a dataset.

    Args:
        run_id: the run that the dataset belongs to.
        model: the base model.
        limits: the settings of the training job.
        price: of one training instance; None if it is not known.
    """
    return DatasetOptions(
        run_id=run_id,
        chat=model.chat,
        sequence_length=choose_recipe(model, limits.max_training_minutes).sequence_length,
        epochs=MAX_EPOCHS,
        minimum_words=limits.minimum_words,
        parameters_millions=model.parameters_millions,
        instance=limits.training_instance,
        max_minutes=limits.max_training_minutes,
        base_model=model.name,
        spot=limits.spot,
        usd_per_hour=price.usd_per_hour if price else None,
        price_month=price.month if price else "",
        price_source=price.source if price else "",
        instances=limits.instance_count,
    )


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
# Each token reads all weights once, two bytes a parameter, for all answers that are generated at the same
# time. The estimate counts on half of the memory bandwidth and at most a hundred tokens a second for each
# answer, because reading weights is not all the work.
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
