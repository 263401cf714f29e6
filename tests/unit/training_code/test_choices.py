"""Each setting that chooses itself, over the cases that it tells apart."""

from typing import Any

import pytest

from stories.dataset import training_plan
from storyloom_jobs.container import JobError
from storyloom_jobs.cpu.resources import GIBIBYTE
from storyloom_jobs.hardware import MachineShare
from storyloom_jobs.hyperparameters import AUTO, Hyperparameters
from storyloom_jobs.lora_model import BaseShape
from storyloom_jobs.training import choices
from storyloom_jobs.training.choices import DataSize

SMALL = BaseShape(134_515_008, 30, 576, 1536, 49_152, 8192)
BASES = {
    135: SMALL,
    360: BaseShape(361_821_120, 32, 960, 2560, 49_152, 8192),
    1700: BaseShape(1_711_376_384, 24, 2048, 8192, 49_152, 8192),
    8000: BaseShape(8_030_261_248, 32, 4096, 14_336, 128_256, 131_072),
    70_000: BaseShape(70_553_706_496, 80, 8192, 28_672, 128_256, 131_072),
}
CPU = MachineShare("cpu", 16 * GIBIBYTE, has_bitsandbytes=False)
L4 = MachineShare("cuda", 22 * GIBIBYTE, has_bitsandbytes=True)


def chosen(
    base: BaseShape = SMALL,
    machine: MachineShare = CPU,
    tokens: int = 100_000,
    dtype: str = "bf16",
    **given: object,
) -> choices.ChosenSettings:
    before = choices.choose_for_base(
        Hyperparameters.from_strings({name: str(value) for name, value in given.items()}),
        base,
        machine,
        dtype,
    )
    return choices.choose_for_data(before, DataSize(tokens, tokens), base, machine, dtype)


@pytest.mark.parametrize(
    ("tokens", "epochs"),
    [
        (5_000, 1),
        (20_000, 2),
        (45_000, 3),
        (55_000, 4),
        (1_000_000, 4),
        (5_000_000, 3),
        (30_000_000, 2),
        (10**9, 1),
    ],
)
def test_epochs_follow_the_amount_of_text(tokens: int, epochs: int) -> None:
    result = chosen(tokens=tokens)
    assert result.settings.epochs == epochs
    assert f"{tokens:,} tokens" in result.reasons["epochs"]


def test_fewer_tokens_never_mean_more_steps() -> None:
    sizes = [2_000, 12_000, 12_001, 30_000, 30_001, 50_000, 50_001, 200_000]
    steps = [
        tokens * result.settings.epochs // result.settings.batch_tokens
        for tokens in sizes
        for result in [chosen(tokens=tokens)]
    ]
    assert steps == sorted(steps), steps
    assert steps[0] <= 2


@pytest.mark.parametrize(("millions", "rate"), [(135, 1e-3), (360, 6.1e-4), (1700, 2.8e-4), (8000, 1.3e-4)])
def test_larger_models_get_lower_rates(millions: int, rate: float) -> None:
    assert chosen(BASES[millions], MachineShare("cuda", 80 * GIBIBYTE, True)).settings.learning_rate == rate


@pytest.mark.parametrize(("tokens", "rank"), [(20_000, 8), (100_000, 8), (100_001, 16), (10**8, 16)])
def test_the_rank_follows_the_data_and_fits_every_endpoint(tokens: int, rank: int) -> None:
    assert chosen(tokens=tokens).settings.lora_rank == rank


@pytest.mark.parametrize(
    ("tokens", "machine", "batch"),
    [
        (5_000, CPU, 1024),
        (55_000, CPU, 2048),
        (5_000_000, CPU, 2048),
        (55_000, L4, 2048),
        (300_000, L4, 8192),
        (5_000_000, L4, 16_384),
    ],
)
def test_the_batch_leaves_enough_steps(tokens: int, machine: MachineShare, batch: int) -> None:
    assert chosen(machine=machine, tokens=tokens).settings.batch_tokens == batch


@pytest.mark.parametrize(("base", "length"), [(135, 512), (360, 1024), (1700, 2048), (8000, 2048)], ids=str)
def test_the_length_is_that_of_the_datasets_windows(base: int, length: int) -> None:
    machine = MachineShare("cuda", 80 * GIBIBYTE, True)
    assert chosen(BASES[base], machine).settings.sequence_length == length

    class Model:
        name, chat, context_length, parameters_millions = "model", True, 8192, base

    assert training_plan.choose_recipe(Model(), 60).sequence_length == length


def test_a_short_context_and_a_small_step_shorten_the_rows() -> None:
    short = BaseShape(124_000_000, 12, 768, 3072, 50_257, 256)
    assert chosen(short).settings.sequence_length == 256
    assert chosen(batch_tokens=300).settings.sequence_length == 300


@pytest.mark.parametrize(
    ("base", "gib", "quantization", "merged"),
    [
        (135, 22, "none", "yes"),
        (1700, 22, "none", "yes"),
        (8000, 22, "none", "no"),
        (8000, 16, "nf4", "no"),
        (8000, 80, "none", "yes"),
        (70_000, 80, "nf4", "no"),
    ],
)
def test_a_base_that_does_not_fit_is_kept_in_4_bits(
    base: int, gib: int, quantization: str, merged: str
) -> None:
    settings = chosen(BASES[base], MachineShare("cuda", gib * GIBIBYTE, has_bitsandbytes=True)).settings
    assert (settings.quantization, settings.merge_adapters) == (quantization, merged)


@pytest.mark.parametrize(
    "machine", [MachineShare("cuda", 80 * GIBIBYTE, False), MachineShare("cuda", 22 * GIBIBYTE, True)]
)
def test_a_base_that_does_not_fit_in_4_bits_is_refused_before_loading(machine: MachineShare) -> None:
    with pytest.raises(
        JobError, match=r"needs 131\.4 GiB and this machine has .* smaller base model or an inst"
    ):
        choices.choose_for_base(Hyperparameters(), BASES[70_000], machine, "bf16")


def test_given_4_bits_need_a_gpu() -> None:
    with pytest.raises(JobError, match="nf4, which needs a GPU and the bitsandbytes package"):
        chosen(quantization="nf4")


def test_micro_batches_fit_the_memory() -> None:
    roomy = chosen(BASES[1700], MachineShare("cuda", 80 * GIBIBYTE, True), 10**7)
    tight = chosen(BASES[1700], MachineShare("cuda", 15 * GIBIBYTE, True), 10**7)
    assert roomy.settings.batch_tokens == tight.settings.batch_tokens == 16_384
    assert roomy.settings.micro_batch_tokens > tight.settings.micro_batch_tokens >= 2048


def test_given_values_stay_and_have_no_reason() -> None:
    given: dict[str, Any] = {
        "epochs": 9,
        "learning_rate": 0.5,
        "lora_rank": 3,
        "sequence_length": 64,
        "batch_tokens": 128,
    }
    result = chosen(**given)
    assert {name: getattr(result.settings, name) for name in given} == given
    assert not set(given) & set(result.reasons)


def test_every_choice_has_its_reason_in_the_log_and_the_record(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = chosen(tokens=20_000)
    out = capsys.readouterr().out
    record = result.record()
    assert set(record) == {
        "quantization", "sequence_length", "epochs", "learning_rate",
        "lora_rank", "batch_tokens", "merge_adapters", "micro_batch_tokens", "compile_layers",
    }  # fmt: skip
    for name, choice in record.items():
        assert choice["value"] not in {AUTO, "auto"}
        assert choice["because"] in out, name
    assert (
        "epochs 2, because there are 20,000 tokens to learn from: more epochs would memorize so little text."
        in out
    )


def test_the_estimate_of_the_data_report_assumes_the_most_epochs() -> None:
    assert training_plan.MAX_EPOCHS == choices.MAX_EPOCHS


@pytest.mark.parametrize(
    ("changes", "answer", "because"),
    [
        ({"tokens": 60_000}, "yes", "long enough"),
        ({"tokens": 20_000}, "no", "too short"),
        ({"tokens": 60_000, "max_seconds": 180}, "no", "too short"),
        ({"tokens": 60_000, "dtype": "fp32"}, "no", "measured only"),
        ({"tokens": 60_000, "machine": MachineShare("cpu", 8 * GIBIBYTE, False)}, "no", "no C++ compiler"),
        ({"tokens": 60_000, "machine": MachineShare("cuda", 80 * GIBIBYTE, False)}, "no", "measured only"),
    ],
)
def test_layers_are_compiled_if_the_training_is_long_enough(
    changes: dict[str, Any], answer: str, because: str
) -> None:
    with_compiler = {"machine": MachineShare("cpu", 8 * GIBIBYTE, False, has_compiler=True)}
    result = chosen(**{**with_compiler, **changes})
    assert result.settings.compile_layers == answer
    assert because in result.reasons["compile_layers"]
