"""Choose how a base model is trained: what its size decides about the dataset and the estimate."""

import math
from dataclasses import dataclass
from typing import Protocol

from stories.dataset import DatasetOptions


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
"""The training job chooses at most this many, and fewer for little text, so the estimate is on the safe side."""


def choose_recipe(model: OpenModel, max_training_minutes: int) -> Recipe:
    """Choose the sequence length, time limit and seed for a model."""
    length = next(length for most, length in _LENGTHS if model.parameters_millions <= most)
    return Recipe(
        sequence_length=min(length, model.context_length),
        max_seconds=max_training_minutes * 60,
        seed=_SEED,
    )


def dataset_options(
    run_id: str,
    model: OpenModel,
    *,
    minimum_words: int,
    instance: str,
    instances: int = 1,
    spot: bool,
    max_training_minutes: int,
    usd_per_hour: float | None = None,
    price_month: str = "",
    price_source: str = "",
) -> DatasetOptions:
    """Return the options of a dataset.

    Args:
        run_id: the run that the dataset belongs to.
        model: the base model.
        minimum_words: words that training needs.
        instance: SageMaker training instance type.
        instances: how many of them train together.
        spot: whether training runs on spot instances.
        max_training_minutes: time limit of the training.
        usd_per_hour: price of one instance, on demand; None if it is not known.
        price_month: month of the price, such as `2026-09`.
        price_source: source of the price, in words for people.
    """
    chosen = choose_recipe(model, max_training_minutes)
    return DatasetOptions(
        run_id=run_id,
        chat=model.chat,
        sequence_length=chosen.sequence_length,
        epochs=MAX_EPOCHS,
        minimum_words=minimum_words,
        parameters_millions=model.parameters_millions,
        instance=instance,
        max_minutes=max_training_minutes,
        base_model=model.name,
        spot=spot,
        usd_per_hour=usd_per_hour,
        price_month=price_month,
        price_source=price_source,
        instances=instances,
    )
