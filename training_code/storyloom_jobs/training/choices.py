"""Chooses hyperparameters that are not given, from the data, the base model and the machine, with reasons.

Only the job knows all three, so it is the only place that chooses (docs/decisions/0006). A given value is
never changed.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from storyloom_jobs.container import JobError
from storyloom_jobs.cpu.resources import GIBIBYTE, USABLE_SHARE
from storyloom_jobs.hardware import MachineShare
from storyloom_jobs.hyperparameters import AUTO, Hyperparameters
from storyloom_jobs.lora_model import BaseShape

MILLION = 1_000_000

MAX_EPOCHS = 4
"""The estimate of the data report assumes the same number (`stories.dataset.training_plan`)."""

_EPOCHS = (
    (12_000, 1, "more epochs would memorize so little text"),
    (30_000, 2, "more epochs would memorize so little text"),
    (50_000, 3, "that is little text"),
    (2 * MILLION, MAX_EPOCHS, "each further epoch adds less"),
    (10 * MILLION, 3, "so much text needs fewer epochs"),
    (50 * MILLION, 2, "so much text needs few epochs"),
)
"""Number of loss tokens up to which a number of epochs is chosen, and the reason."""

_LENGTHS = ((200 * MILLION, 512), (500 * MILLION, 1024))
"""Parameters up to which a row length is chosen; larger models can use longer passages."""
_MAX_LENGTH = 2048

_REFERENCE_PARAMETERS = 135 * MILLION
_REFERENCE_RATE = 1e-3
"""Best of the learning rates measured on a model of the reference size (docs/training.md)."""
_MIN_RATE = 1e-4

_SMALL_DATA = 100_000
"""Number of loss tokens up to which half the rank is enough."""
_RANK = 16

_TARGET_STEPS = 100
"""Steps that a training should have: fewer learn less from the same text, many more waste the machine."""
_MIN_BATCH_TOKENS = 1024
_MAX_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}

_MIN_COMPILED_WORK = 100_000 * 135 * MILLION
"""Tokens times parameters from which a training gains more from compiling than compiling takes: about five
minutes at 135 million parameters."""
_MIN_COMPILED_SECONDS = 300

_HEAD_CHUNK = 256
_BYTES_PER_WEIGHT = {"bf16": 2.0, "fp32": 4.0, "nf4": 0.6}
"""For nf4 including its scales and the layers that stay in bf16."""


@dataclass(frozen=True)
class DataSize:
    """Size of the training rows."""

    num_tokens: int
    num_loss_tokens: int


@dataclass
class ChosenSettings:
    """Hyperparameters, and the reason of each that was chosen."""

    settings: Hyperparameters
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, name: str, value: Any, reason: str) -> None:
        """Set a hyperparameter that is open and log it with its reason; a given value stays."""
        if not self.is_open(name):
            return
        self.settings = replace(self.settings, **{name: value})
        self.reasons[name] = reason
        shown = f"{value:.2g}" if isinstance(value, float) else str(value)
        print(f"{name.replace('_', ' ')} {shown}, because {reason}.", flush=True)

    def is_open(self, name: str) -> bool:
        """Check whether a hyperparameter was not given and is not chosen yet."""
        return getattr(self.settings, name) in {AUTO, "auto"}

    def record(self) -> dict[str, Any]:
        """Return `{name: {"value", "because"}}` of the chosen hyperparameters."""
        values = asdict(self.settings)
        return {name: {"value": values[name], "because": why} for name, why in self.reasons.items()}


def choose_for_base(
    settings: Hyperparameters, base: BaseShape, machine: MachineShare, dtype: str
) -> ChosenSettings:
    """Choose what is needed to load the base model; `dtype` is `bf16` or `fp32`.

    Raises:
        JobError: the base model does not fit the memory, not even in 4 bits.
    """
    chosen = ChosenSettings(settings)
    _choose_quantization(chosen, base, machine, dtype)
    length = next((length for most, length in _LENGTHS if base.parameters <= most), _MAX_LENGTH)
    size = _millions(base.parameters)
    if settings.batch_tokens and settings.batch_tokens < length:
        chosen.choose("sequence_length", settings.batch_tokens, "a step has no more tokens")
    if base.context and base.context < length:
        chosen.choose("sequence_length", base.context, "the base model's context is no longer")
    else:
        chosen.choose("sequence_length", length, f"that suits a base model of {size} parameters")
    return chosen


def choose_for_data(
    chosen: ChosenSettings, data: DataSize, base: BaseShape, machine: MachineShare, dtype: str
) -> ChosenSettings:
    """Choose the rest, after the tokens are counted."""
    _choose_epochs(chosen, data)
    _choose_rate(chosen, base)
    _choose_rank(chosen, data)
    _choose_batch(chosen, data, machine)
    _choose_memory(chosen, base, machine, dtype)
    _choose_compiling(chosen, data, base, machine, dtype)
    return chosen


def _choose_quantization(chosen: ChosenSettings, base: BaseShape, machine: MachineShare, dtype: str) -> None:
    usable = USABLE_SHARE * machine.memory_bytes
    needs, has = _gib(base.parameters * _BYTES_PER_WEIGHT[dtype]), f"{_gib(machine.memory_bytes)} GiB"
    fits = _fixed_bytes(chosen.settings, base, dtype) + _activation_bytes(base, 1) < usable
    four_bit = _fixed_bytes(chosen.settings, base, "nf4") < usable
    if chosen.settings.quantization == "nf4" and not machine.has_bitsandbytes:
        raise JobError(
            "quantization is nf4, which needs a GPU and the bitsandbytes package. "
            "Set quantization to auto, or choose a GPU instance."
        )
    if fits:
        chosen.choose("quantization", "none", f"the base model's {needs} GiB fit the {has} of memory")
    elif machine.has_bitsandbytes and four_bit:
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


def _choose_epochs(chosen: ChosenSettings, data: DataSize) -> None:
    epochs, why = next(
        ((epochs, why) for most, epochs, why in _EPOCHS if data.num_loss_tokens <= most),
        (1, "so much text needs no second epoch"),
    )
    chosen.choose("epochs", epochs, f"there are {data.num_loss_tokens:,} tokens to learn from: {why}")


def _choose_rate(chosen: ChosenSettings, base: BaseShape) -> None:
    """Lower the rate with the square root of the size: 1e-3 at 135 million, 3e-4 at 1.7 billion."""
    rate = _REFERENCE_RATE * min(1.0, (_REFERENCE_PARAMETERS / base.parameters) ** 0.5)
    chosen.choose(
        "learning_rate",
        float(f"{max(_MIN_RATE, rate):.1e}"),
        f"the base model has {_millions(base.parameters)} parameters, and larger ones need smaller steps",
    )


def _choose_rank(chosen: ChosenSettings, data: DataSize) -> None:
    if data.num_loss_tokens <= _SMALL_DATA:
        chosen.choose("lora_rank", _RANK // 2, f"{data.num_loss_tokens:,} tokens need no larger adapter")
    else:
        chosen.choose("lora_rank", _RANK, f"{data.num_loss_tokens:,} tokens fill a larger adapter")


def _choose_batch(chosen: ChosenSettings, data: DataSize, machine: MachineShare) -> None:
    """Choose the power of two that gives about the target number of steps, within limits."""
    seen = data.num_tokens * chosen.settings.epochs
    wanted = 1 << max(0, (seen // _TARGET_STEPS).bit_length() - 1)
    most = max(_MAX_BATCH_TOKENS[machine.kind], chosen.settings.sequence_length)
    least = min(most, max(_MIN_BATCH_TOKENS, chosen.settings.sequence_length))
    batch = min(most, max(least, wanted))
    steps = max(1, seen // batch)
    if wanted > most:
        reason = f"more at a time make {'a processor' if machine.kind == 'cpu' else 'a GPU'} no faster"
    elif wanted < least:
        reason = "fewer make the gradient too noisy"
    else:
        reason = f"the {seen:,} tokens of all epochs then make about {steps} steps"
    chosen.choose("batch_tokens", batch, reason)


def _choose_memory(chosen: ChosenSettings, base: BaseShape, machine: MachineShare, dtype: str) -> None:
    settings = chosen.settings
    kept = "nf4" if settings.quantization == "nf4" else dtype
    room = USABLE_SHARE * machine.memory_bytes - _fixed_bytes(settings, base, kept)
    copies = base.parameters * _BYTES_PER_WEIGHT[kept]
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
        "micro_batch_tokens",
        micro,
        f"{fit} of a step's tokens fit {_gib(machine.memory_bytes)} GiB of memory",
    )


def _choose_compiling(
    chosen: ChosenSettings, data: DataSize, base: BaseShape, machine: MachineShare, dtype: str
) -> None:
    """Compile only in the case that was measured: bf16 on a processor, with merged adapters."""
    settings = chosen.settings
    work = data.num_tokens * settings.epochs * base.parameters
    if machine.kind != "cpu" or dtype != "bf16" or settings.merge_adapters != "yes":
        chosen.choose("compile_layers", "no", "a gain was measured only for merged adapters in bf16 on a CPU")
    elif not machine.has_compiler:
        chosen.choose("compile_layers", "no", "there is no C++ compiler (g++)")
    elif work < _MIN_COMPILED_WORK or settings.max_seconds < _MIN_COMPILED_SECONDS:
        chosen.choose("compile_layers", "no", "the training is too short to gain half a minute")
    else:
        chosen.choose(
            "compile_layers",
            "yes",
            "the training is long enough to gain more than the half minute that it takes",
        )


def _fixed_bytes(settings: Hyperparameters, base: BaseShape, kept: str) -> float:
    """Estimate the weights, and the adapter with its gradients and the optimiser's two averages in fp32."""
    rank = settings.lora_rank or _RANK
    widths = 8 * base.hidden + 3 * (base.hidden + base.intermediate)
    return base.parameters * _BYTES_PER_WEIGHT[kept] + 16.0 * rank * base.layers * widths


def _activation_bytes(base: BaseShape, tokens: int) -> float:
    """Estimate the saved activations, in bf16 with norms in fp32, and a chunk of the logits."""
    return tokens * base.layers * (28.0 * base.hidden + 8.0 * base.intermediate) + (
        8.0 * _HEAD_CHUNK * base.vocabulary
    )


def _gib(count: float) -> str:
    return f"{count / GIBIBYTE:.1f}"


def _millions(parameters: int) -> str:
    return f"{parameters / MILLION:,.0f} million"
