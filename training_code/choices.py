"""Settings that nobody gave, chosen from the data, the base model and the machine, each with its reason.

This is the one place that decides them (docs/decisions/0006): only the job knows all three. A setting that
somebody gave is never changed.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from training_code.container import JobError
from training_code.hyperparameters import AUTO, Hyperparameters
from training_code.machine import Machine
from training_code.processors import GIBIBYTE, USABLE

MILLION = 1_000_000

MOST_EPOCHS = 4
"""The estimate of the data report counts with as many (`stories.dataset.training_plan`)."""

_EPOCHS = (
    (12_000, 1, "so few would soon be known by heart"),
    (30_000, 2, "so few are known by heart after more"),
    (50_000, 3, "that is little to learn from"),
    (2 * MILLION, MOST_EPOCHS, "each further reading teaches less"),
    (10 * MILLION, 3, "so many need fewer readings"),
    (50 * MILLION, 2, "so many need few readings"),
)
"""Up to so many taught tokens, so many epochs, because."""

_LENGTHS = ((200 * MILLION, 512), (500 * MILLION, 1024))
"""Up to so many parameters, rows of so many tokens; larger models remember longer passages."""
_LONGEST = 2048

_REFERENCE = 135 * MILLION
_REFERENCE_RATE = 1e-3
"""Measured to be the best of its neighbours on a model of the reference size (docs/training.md)."""
_LOWEST_RATE = 1e-4

_SMALL_DATA = 100_000
"""Taught tokens up to which half the rank is enough to hold what they say."""
_RANK = 16

_STEPS = 100
"""Steps that a training should have: fewer learn less from the same text, many more waste the machine."""
_SMALLEST_BATCH = 1024
_LARGEST_BATCH = {"cpu": 2048, "cuda": 16_384}

_COMPILING_PAYS = 100_000 * 135 * MILLION
"""Tokens times parameters from which a training is long enough to earn back the time of compiling: at 135
million parameters about five minutes."""
_COMPILING_PAYS_SECONDS = 300

_HEAD_CHUNK = 256
_BYTES = {"bf16": 2.0, "fp32": 4.0, "nf4": 0.6}
"""A weight's; nf4 with its scales and the layers that stay in bf16."""


@dataclass(frozen=True)
class BaseShape:
    """What of a base model decides how much memory and work a token takes."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    context: int | None
    """Tokens it reads at once, None where its config does not say."""


@dataclass(frozen=True)
class DataSize:
    """Tokens of the training rows."""

    tokens: int
    taught: int


@dataclass
class Chosen:
    """The settings, and for each that was chosen why."""

    settings: Hyperparameters
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, name: str, value: Any, reason: str) -> None:
        """Set what is open, and say so on the log; what was given stays."""
        if not self.is_open(name):
            return
        self.settings = replace(self.settings, **{name: value})
        self.reasons[name] = reason
        shown = f"{value:.2g}" if isinstance(value, float) else str(value)
        print(f"{name.replace('_', ' ')} {shown}, because {reason}.", flush=True)

    def is_open(self, name: str) -> bool:
        """Whether nobody has given this setting and it is not chosen yet."""
        return getattr(self.settings, name) in {AUTO, "auto"}

    def record(self) -> dict[str, Any]:
        """`{name: {"value", "because"}}` of all that was chosen."""
        values = asdict(self.settings)
        return {name: {"value": values[name], "because": why} for name, why in self.reasons.items()}


def choose_for_base(settings: Hyperparameters, base: BaseShape, machine: Machine, dtype: str) -> Chosen:
    """Choose what has to be known before the base model is loaded; `dtype` is `bf16` or `fp32`.

    Raises:
        JobError: the base fits this machine in no form.
    """
    chosen = Chosen(settings)
    _choose_quantization(chosen, base, machine, dtype)
    length = next((length for most, length in _LENGTHS if base.parameters <= most), _LONGEST)
    size = _millions(base.parameters)
    if settings.batch_tokens and settings.batch_tokens < length:
        chosen.choose("sequence_length", settings.batch_tokens, "a step has no more tokens")
    if base.context and base.context < length:
        chosen.choose("sequence_length", base.context, "the base model reads no more at once")
    else:
        chosen.choose("sequence_length", length, f"that suits a base model of {size} parameters")
    return chosen


def choose_for_data(chosen: Chosen, data: DataSize, base: BaseShape, machine: Machine, dtype: str) -> Chosen:
    """Choose the rest, once the text is counted."""
    _choose_epochs(chosen, data)
    _choose_rate(chosen, base)
    _choose_rank(chosen, data)
    _choose_batch(chosen, data, machine)
    _choose_memory(chosen, base, machine, dtype)
    _choose_compiling(chosen, data, base, machine, dtype)
    return chosen


def _choose_quantization(chosen: Chosen, base: BaseShape, machine: Machine, dtype: str) -> None:
    usable = USABLE * machine.memory
    needs, has = _gib(base.parameters * _BYTES[dtype]), f"{_gib(machine.memory)} GiB"
    fits = _fixed_bytes(chosen.settings, base, dtype) + _activation_bytes(base, 1) < usable
    four_bit = _fixed_bytes(chosen.settings, base, "nf4") < usable
    if chosen.settings.quantization == "nf4" and not machine.four_bit:
        raise JobError(
            "quantization is nf4, which needs a GPU and the bitsandbytes package. "
            "Set quantization to auto, or choose a GPU instance."
        )
    if fits:
        chosen.choose("quantization", "none", f"the base model's {needs} GiB fit the {has} of memory")
    elif machine.four_bit and four_bit:
        chosen.choose(
            "quantization",
            "nf4",
            f"the base model's {needs} GiB do not fit the {has} of memory, in 4 bits they do",
        )
    elif chosen.is_open("quantization"):
        raise JobError(
            f"The base model needs {needs} GiB and this machine has {has} of memory. "
            "Choose a smaller base model or an instance with more memory."
        )


def _choose_epochs(chosen: Chosen, data: DataSize) -> None:
    epochs, why = next(
        ((epochs, why) for most, epochs, why in _EPOCHS if data.taught <= most),
        (1, "so many need no second reading"),
    )
    chosen.choose("epochs", epochs, f"there are {data.taught:,} tokens to learn from: {why}")


def _choose_rate(chosen: Chosen, base: BaseShape) -> None:
    """Falls with the square root of the size: 1e-3 at 135 million, 3e-4 at 1.7 thousand million."""
    rate = _REFERENCE_RATE * min(1.0, (_REFERENCE / base.parameters) ** 0.5)
    chosen.choose(
        "learning_rate",
        float(f"{max(_LOWEST_RATE, rate):.1e}"),
        f"the base model has {_millions(base.parameters)} parameters, and larger ones want smaller steps",
    )


def _choose_rank(chosen: Chosen, data: DataSize) -> None:
    if data.taught <= _SMALL_DATA:
        chosen.choose("lora_rank", _RANK // 2, f"{data.taught:,} tokens need no larger adapter")
    else:
        chosen.choose("lora_rank", _RANK, f"{data.taught:,} tokens fill a larger adapter")


def _choose_batch(chosen: Chosen, data: DataSize, machine: Machine) -> None:
    """The power of two that comes nearest below so many steps, between what is too noisy and too slow."""
    seen = data.tokens * chosen.settings.epochs
    wanted = 1 << max(0, (seen // _STEPS).bit_length() - 1)
    most = max(_LARGEST_BATCH[machine.kind], chosen.settings.sequence_length)
    least = min(most, max(_SMALLEST_BATCH, chosen.settings.sequence_length))
    batch = min(most, max(least, wanted))
    steps = max(1, seen // batch)
    if wanted > most:
        reason = f"more at a time make {'a processor' if machine.kind == 'cpu' else 'a GPU'} no faster"
    elif wanted < least:
        reason = "fewer at a time would say too little about the direction"
    else:
        reason = f"the {seen:,} tokens of all epochs then make about {steps} steps"
    chosen.choose("batch_tokens", batch, reason)


def _choose_memory(chosen: Chosen, base: BaseShape, machine: Machine, dtype: str) -> None:
    settings = chosen.settings
    kept = "nf4" if settings.quantization == "nf4" else dtype
    room = USABLE * machine.memory - _fixed_bytes(settings, base, kept)
    copies = base.parameters * _BYTES[kept]
    row = _activation_bytes(base, settings.sequence_length)
    if kept == "nf4":
        chosen.choose("merge_adapters", "no", "weights in 4 bits cannot be merged")
    elif room - copies >= row:
        chosen.choose("merge_adapters", "yes", "there is memory for a second copy of the weights")
    else:
        chosen.choose("merge_adapters", "no", "there is no memory for a second copy of the weights")
    if chosen.settings.merge_adapters == "yes":
        room -= copies
    micro = settings.batch_tokens
    while micro // 2 >= settings.sequence_length and _activation_bytes(base, micro) > room:
        micro //= 2
    fit = "all" if micro == settings.batch_tokens else "no more"
    chosen.choose(
        "micro_batch_tokens", micro, f"{fit} of a step's tokens fit {_gib(machine.memory)} GiB of memory"
    )


def _choose_compiling(chosen: Chosen, data: DataSize, base: BaseShape, machine: Machine, dtype: str) -> None:
    """Only where it was measured: bf16 on a processor, with merged adapters."""
    settings = chosen.settings
    work = data.tokens * settings.epochs * base.parameters
    if machine.kind != "cpu" or dtype != "bf16" or settings.merge_adapters != "yes":
        chosen.choose("compile_layers", "no", "it is known to pay only for merged adapters in bf16 on a CPU")
    elif not machine.compiler:
        chosen.choose("compile_layers", "no", "there is no C++ compiler (g++)")
    elif work < _COMPILING_PAYS or settings.max_seconds < _COMPILING_PAYS_SECONDS:
        chosen.choose("compile_layers", "no", "so short a training would not earn back the half minute")
    else:
        chosen.choose("compile_layers", "yes", "so long a training earns back the half minute that it takes")


def _fixed_bytes(settings: Hyperparameters, base: BaseShape, kept: str) -> float:
    """Weights, and the adapter with its gradients and the optimiser's two averages, in fp32."""
    rank = settings.lora_rank or _RANK
    widths = 8 * base.hidden + 3 * (base.hidden + base.intermediate)
    return base.parameters * _BYTES[kept] + 16.0 * rank * base.layers * widths


def _activation_bytes(base: BaseShape, tokens: int) -> float:
    """What the backward pass has to find again, in bf16 with the norms in fp32, and a piece of the logits."""
    return tokens * base.layers * (28.0 * base.hidden + 8.0 * base.intermediate) + (
        8.0 * _HEAD_CHUNK * base.vocabulary
    )


def _gib(count: float) -> str:
    return f"{count / GIBIBYTE:.1f}"


def _millions(parameters: int) -> str:
    return f"{parameters / MILLION:,.0f} million"
