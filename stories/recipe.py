"""How a base model is taught: what its size decides about the dataset, the training and the estimate."""

from dataclasses import asdict, dataclass
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
class Hyperparameters:
    """The settings of training that depend on the model and the time; others keep their defaults."""

    epochs: int
    learning_rate: float
    lora_rank: int
    sequence_length: int
    """Tokens the model is trained on at a time."""
    batch_tokens: int
    """Tokens of one step of the optimiser."""
    max_seconds: int
    seed: int

    def as_strings(self) -> dict[str, str]:
        """Return them as SageMaker wants them."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class _Size:
    """What suits models up to a size. Larger models learn from smaller steps and remember longer passages."""

    parameters_millions: float
    learning_rate: float
    sequence_length: int
    batch_tokens: int


_SIZES = (
    _Size(200, 1e-3, 512, 2048),
    _Size(500, 6e-4, 1024, 8192),
    _Size(2000, 3e-4, 2048, 16384),
    _Size(float("inf"), 2e-4, 2048, 16384),
)
_EPOCHS = 4
# The endpoint reserves memory for adapters of this rank (max-lora-rank in serving.yaml).
_LORA_RANK = 16
_SEED = 17


def hyperparameters(model: OpenModel, max_training_minutes: int) -> Hyperparameters:
    """Choose how to teach a model."""
    size = next(size for size in _SIZES if model.parameters_millions <= size.parameters_millions)
    return Hyperparameters(
        epochs=_EPOCHS,
        learning_rate=size.learning_rate,
        lora_rank=_LORA_RANK,
        sequence_length=min(size.sequence_length, model.context_length),
        batch_tokens=size.batch_tokens,
        max_seconds=max_training_minutes * 60,
        seed=_SEED,
    )


def options(
    run_id: str, model: OpenModel, *, minimum_words: int, instance: str, spot: bool, max_training_minutes: int
) -> Options:
    """Say what a dataset is made for.

    Args:
        run_id: the run it belongs to.
        model: that will be taught.
        minimum_words: words that training needs.
        instance: SageMaker training instance type.
        spot: whether training waits for spare machines.
        max_training_minutes: when training ends by itself.
    """
    chosen = hyperparameters(model, max_training_minutes)
    return Options(
        run_id=run_id,
        chat=model.chat,
        sequence_length=chosen.sequence_length,
        epochs=chosen.epochs,
        minimum_words=minimum_words,
        parameters_millions=model.parameters_millions,
        instance=instance,
        most_minutes=max_training_minutes,
        base_model=model.name,
        spot=spot,
    )
