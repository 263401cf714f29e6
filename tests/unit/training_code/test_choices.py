"""Each setting that chooses itself, over the cases that it tells apart."""

from typing import Any

import pytest

from stories.dataset import training_plan
from training_code import choices
from training_code.choices import BaseShape, DataSize
from training_code.container import JobError
from training_code.hyperparameters import AUTO, Hyperparameters
from training_code.machine import Machine
from training_code.processors import GIBIBYTE

SMALL = BaseShape(134_515_008, 30, 576, 1536, 49_152, 8192)
BASES = {
    135: SMALL,
    360: BaseShape(361_821_120, 32, 960, 2560, 49_152, 8192),
    1700: BaseShape(1_711_376_384, 24, 2048, 8192, 49_152, 8192),
    8000: BaseShape(8_030_261_248, 32, 4096, 14_336, 128_256, 131_072),
    70_000: BaseShape(70_553_706_496, 80, 8192, 28_672, 128_256, 131_072),
}
CPU = Machine("cpu", 16 * GIBIBYTE, four_bit=False)
L4 = Machine("cuda", 22 * GIBIBYTE, four_bit=True)


def chosen(
    base: BaseShape = SMALL,
    machine: Machine = CPU,
    tokens: int = 100_000,
    dtype: str = "bf16",
    **given: object,
) -> choices.Chosen:
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
def test_little_text_is_not_learnt_by_heart_and_much_is_not_read_often(tokens: int, epochs: int) -> None:
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
    assert chosen(BASES[millions], Machine("cuda", 80 * GIBIBYTE, True)).settings.learning_rate == rate


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
def test_a_step_takes_what_leaves_enough_steps(tokens: int, machine: Machine, batch: int) -> None:
    assert chosen(machine=machine, tokens=tokens).settings.batch_tokens == batch


@pytest.mark.parametrize(("base", "length"), [(135, 512), (360, 1024), (1700, 2048), (8000, 2048)], ids=str)
def test_the_length_is_the_one_that_the_dataset_is_cut_to(base: int, length: int) -> None:
    machine = Machine("cuda", 80 * GIBIBYTE, True)
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
def test_what_does_not_fit_is_kept_in_4_bits(base: int, gib: int, quantization: str, merged: str) -> None:
    settings = chosen(BASES[base], Machine("cuda", gib * GIBIBYTE, four_bit=True)).settings
    assert (settings.quantization, settings.merge_adapters) == (quantization, merged)


@pytest.mark.parametrize(
    "machine", [Machine("cuda", 80 * GIBIBYTE, False), Machine("cuda", 22 * GIBIBYTE, True)]
)
def test_what_fits_in_no_form_is_refused_before_it_is_loaded(machine: Machine) -> None:
    with pytest.raises(
        JobError, match=r"needs 131\.4 GiB and this machine has .* smaller base model or an inst"
    ):
        choices.choose_for_base(Hyperparameters(), BASES[70_000], machine, "bf16")


def test_4_bits_that_were_asked_for_need_a_gpu() -> None:
    with pytest.raises(JobError, match="nf4, which needs a GPU and the bitsandbytes package"):
        chosen(quantization="nf4")


def test_what_goes_through_the_model_at_once_fits_the_memory() -> None:
    roomy = chosen(BASES[1700], Machine("cuda", 80 * GIBIBYTE, True), 10**7)
    tight = chosen(BASES[1700], Machine("cuda", 15 * GIBIBYTE, True), 10**7)
    assert roomy.settings.batch_tokens == tight.settings.batch_tokens == 16_384
    assert roomy.settings.micro_batch_tokens > tight.settings.micro_batch_tokens >= 2048


def test_what_was_given_stays_and_is_not_explained() -> None:
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


def test_nothing_stays_open_and_every_choice_has_its_reason_in_the_log_and_the_record(
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
        "epochs 2, because there are 20,000 tokens to learn from: so few are known by heart after more."
        in out
    )


def test_the_estimate_of_the_data_report_counts_with_the_most_epochs() -> None:
    assert training_plan.MAX_EPOCHS == choices.MOST_EPOCHS


@pytest.mark.parametrize(
    ("changes", "answer", "because"),
    [
        ({"tokens": 60_000}, "yes", "earns back"),
        ({"tokens": 20_000}, "no", "would not earn back"),
        ({"tokens": 60_000, "max_seconds": 180}, "no", "would not earn back"),
        ({"tokens": 60_000, "dtype": "fp32"}, "no", "known to pay only"),
        ({"tokens": 60_000, "machine": Machine("cpu", 8 * GIBIBYTE, False)}, "no", "no C++ compiler"),
        ({"tokens": 60_000, "machine": Machine("cuda", 80 * GIBIBYTE, False)}, "no", "known to pay only"),
    ],
)
def test_layers_are_compiled_where_the_training_is_long_enough(
    changes: dict[str, Any], answer: str, because: str
) -> None:
    with_compiler = {"machine": Machine("cpu", 8 * GIBIBYTE, False, compiler=True)}
    result = chosen(**{**with_compiler, **changes})
    assert result.settings.compile_layers == answer
    assert because in result.reasons["compile_layers"]
