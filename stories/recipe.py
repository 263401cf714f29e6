"""How a base model is taught: what its size decides about the dataset and the estimate."""

import math
from dataclasses import dataclass
from typing import Protocol

from stories.dataset import Options


class OpenModel(Protocol):
    """What has to be known of a base model."""

    @property
    def name(self) -> str:
        """As the settings name it."""

    @property
    def chat(self) -> bool:
        """Whether it takes chats."""

    @property
    def context_length(self) -> int:
        """Tokens."""

    @property
    def parameters_millions(self) -> int:
        """0 where it is not known."""


@dataclass(frozen=True)
class Recipe:
    """What is fixed when the dataset is made; the training job chooses all else (docs/decisions/0006)."""

    sequence_length: int
    """Tokens the model is trained on at a time, for which the examples are cut."""
    max_seconds: int
    seed: int


_LENGTHS = ((200, 512), (500, 1024), (math.inf, 2048))
"""Up to so many million parameters, rows of so many tokens: larger models remember longer passages."""
_SEED = 17

MOST_EPOCHS = 4
"""The training job chooses no more, and fewer for little text: the estimate errs on the dear side."""


def recipe(model: OpenModel, max_training_minutes: int) -> Recipe:
    """Choose how a model's dataset is cut, and how long it is taught."""
    length = next(length for most, length in _LENGTHS if model.parameters_millions <= most)
    return Recipe(
        sequence_length=min(length, model.context_length),
        max_seconds=max_training_minutes * 60,
        seed=_SEED,
    )


def options(
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
) -> Options:
    """Say what a dataset is made for.

    Args:
        run_id: the run it belongs to.
        model: that will be taught.
        minimum_words: words that training needs.
        instance: SageMaker training instance type.
        instances: how many of them train together.
        spot: whether training waits for spare machines.
        max_training_minutes: when training ends by itself.
        usd_per_hour: price of one instance, on demand; None if it is not known.
        price_month: of what month the price is, as `2026-09`.
        price_source: who gave the price, in words for people.
    """
    chosen = recipe(model, max_training_minutes)
    return Options(
        run_id=run_id,
        chat=model.chat,
        sequence_length=chosen.sequence_length,
        epochs=MOST_EPOCHS,
        minimum_words=minimum_words,
        parameters_millions=model.parameters_millions,
        instance=instance,
        most_minutes=max_training_minutes,
        base_model=model.name,
        spot=spot,
        usd_per_hour=usd_per_hour,
        price_month=price_month,
        price_source=price_source,
        instances=instances,
    )
