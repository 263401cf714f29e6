import json
from pathlib import Path

import pytest

from storyloom_jobs.container import JobError
from storyloom_jobs.hyperparameters import AUTO, Hyperparameters


def test_strings_become_typed_values() -> None:
    settings = Hyperparameters.from_strings(
        {"epochs": "5", "learning_rate": "3e-4", "precision": "bf16", "_tuning_objective_metric": "x"}
    )
    assert (settings.epochs, settings.learning_rate, settings.precision) == (5, 3e-4, "bf16")


def test_values_quoted_by_the_sagemaker_sdk_are_parsed() -> None:
    assert Hyperparameters.from_strings({"precision": '"fp32"', "epochs": "2"}).precision == "fp32"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("epochs", "many", "epochs is 'many', it must be a whole number from 1 to 1000"),
        ("epochs", "0", "from 1 to 1000"),
        ("epochs", "2.5", "a whole number"),
        ("learning_rate", "nan", "learning_rate is 'nan'"),
        ("precision", "int4", "one of auto, bf16, fp32"),
        ("rank", "8", "rank is unknown"),
        ("quantization", "int8", "quantization is 'int8', it must be one of auto, none, nf4"),
        ("learning_rate", "best", "from 1e-07 to 1 or auto"),
        ("seed", "auto", "seed is 'auto', it must be a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_the_allowed_ones(name: str, value: str, said: str) -> None:
    with pytest.raises(JobError) as caught:
        Hyperparameters.from_strings({name: value})
    assert said in str(caught.value)


def test_a_step_holds_a_row() -> None:
    with pytest.raises(JobError, match=r"batch_tokens is 100, it must be at least sequence_length \(512\)"):
        Hyperparameters.from_strings({"batch_tokens": "100", "sequence_length": "512"})


def test_auto_is_the_same_as_no_value() -> None:
    open_values = {"epochs": "auto", "learning_rate": '"auto"', "lora_rank": "auto", "quantization": "auto"}
    assert Hyperparameters.from_strings(open_values) == Hyperparameters()
    assert Hyperparameters().epochs == AUTO


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(JobError, match=r"epochs.*seed"):
        Hyperparameters.from_strings({"epochs": "x", "seed": "-1"})


def test_sm_hps_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hyperparameters.json"
    file.write_text(json.dumps({"epochs": "2"}))
    assert Hyperparameters.load(file, {}).epochs == 2
    assert Hyperparameters.load(file, {"SM_HPS": '{"epochs": 7}'}).epochs == 7
    assert Hyperparameters.load(tmp_path / "none", {}) == Hyperparameters()


def test_a_file_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "hyperparameters.json"
    file.write_text("[1]")
    with pytest.raises(JobError, match="must be a JSON object"):
        Hyperparameters.load(file, {})
