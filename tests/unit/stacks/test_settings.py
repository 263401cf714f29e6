"""The settings: every wrong value gets one plain error, and no other error occurs."""

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.instances import GPU_OF_INSTANCE
from contracts.settings import Settings, SettingsError, read

_CHECKOUT = Path(__file__).resolve().parents[3]


def _faults(**context: Any) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(context)
    return {fault.key: str(fault) for fault in caught.value.faults}


def test_the_defaults_of_cdk_json_are_those_of_the_model() -> None:
    context = json.loads((_CHECKOUT / "cdk.json").read_text())["context"]
    assert read(context) == Settings()
    assert set(context) == set(Settings.model_fields)


def test_values_of_the_command_line_are_strings() -> None:
    settings = read(
        {"spot": "false", "quiet_seconds": "5", "idle_minutes": "0.5", "monthly_budget_usd": "20"}
    )
    assert (settings.spot, settings.quiet_seconds) == (False, 5)
    assert (settings.idle_minutes, settings.monthly_budget_usd) == (0.5, 20)


def test_keys_of_the_cdk_are_ignored() -> None:
    assert read({"aws:cdk:enable-path-metadata": True, "@aws-cdk/core:x": "y", "tree-x": {}}) == Settings()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("name", "Storyloom", "3 to 20 of a-z"),
        ("name", "ab", "3 to 20"),
        ("name", "a" * 21, "3 to 20"),
        ("name", "story-", "not ending with -"),
        ("admin_email", "writer", "writer@example.com"),
        ("base_model", "smolm2-1.7b", "The closest are smollm2-1.7b"),
        ("base_model", "zzz", "The catalogue has smollm2-135m"),
        ("base_model_revision", "a b", "commit, tag or branch"),
        ("training_instance", "ml.m5.xlarge", "no GPU"),
        ("training_instance", "g6.xlarge", "Give ml.g6.xlarge"),
        ("hosting_instance", "ml.p3.2xlarge", "CUDA 13"),
        ("hosting_instance", "a big one", "not an instance type"),
        ("hosting_fallback_instances", 5, "leave it empty"),
        ("instance_count", 0, "from 1 to 16"),
        ("spot", "maybe", "true or false"),
        ("max_training_minutes", 0, "whole minutes"),
        ("max_training_minutes", 7171, "five days"),
        ("quiet_seconds", "4", "from 5"),
        ("quiet_seconds", 5.5, "whole seconds"),
        ("idle_minutes", 0, "above 0"),
        ("hosting_max_instances", 5, "from 1 to 4"),
        ("answers_per_instance", 0, "from 1 to 256"),
        ("watch_minutes", 16, "from 0 to 15"),
        ("minimum_words", -1, "1 or more"),
        ("ask_before_training", "perhaps", "true or false"),
        ("minimum_improvement_percent", 100, "below 100"),
        ("monthly_budget_usd", -5, "above 0"),
        ("monthly_budget_usd", "NaN", "above 0"),
        ("daily_tokens_per_person", 0, "1 or more"),
        ("huggingface_token_secret", "a b", "Secrets Manager"),
        ("inference_ami", "AL2023!", "InferenceAmiVersion"),
        ("transform_ami", "Newest!", "TransformAmiVersion"),
        ("function_python", "3.9", "3.11, 3.12"),
        ("browser_endpoint", "localhost:8400", "http://localhost:PORT"),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(key: str, value: Any, says: str) -> None:
    faults = _faults(**{key: value})
    assert list(faults) == [key]
    assert says in faults[key]
    assert json.dumps(value) in faults[key]
    assert "pattern" not in faults[key], "a regular expression helps nobody"


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("ml.g5.xlarge, ml.g6e.2xlarge", ["ml.g5.xlarge", "ml.g6e.2xlarge"]),
        (["ml.g6e.xlarge", "ml.g6.xlarge"], ["ml.g6e.xlarge"]),
        ("", []),
        ([], []),
    ],
)
def test_fallback_instances_are_a_list_or_names_with_commas(
    given: str | list[str], read_as: list[str]
) -> None:
    assert read({"hosting_fallback_instances": given}).fallbacks == read_as


def test_default_fallback_instances_that_are_too_small_are_skipped() -> None:
    large = {
        "base_model": "llama-3.1-8b",
        "huggingface_token_secret": "hf",
        "training_instance": "ml.g6e.xlarge",
    }
    assert read(large).fallbacks == ["ml.g5.xlarge", "ml.g6e.xlarge"]
    larger = {"base_model": "someone/story-14B", "training_instance": "ml.g6e.xlarge"}
    assert read({**larger, "hosting_instance": "ml.g6e.xlarge"}).fallbacks == []


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("ml.g5.xlarge,ml.m5.xlarge", "no GPU"),
        ("g5.xlarge", "Give ml.g5.xlarge"),
        (["ml.p3.2xlarge"], "CUDA 13"),
    ],
)
def test_a_fallback_instance_must_be_able_to_host(names: str | list[str], says: str) -> None:
    assert says in _faults(hosting_fallback_instances=names)["hosting_fallback_instances"]


def test_a_fallback_instance_that_is_named_must_be_large_enough() -> None:
    larger = {"base_model": "someone/story-14B", "training_instance": "ml.g6e.xlarge"}
    faults = _faults(**larger, hosting_instance="ml.g6e.xlarge", hosting_fallback_instances="ml.g5.xlarge")
    assert "GB of GPU memory for hosting" in faults["hosting_fallback_instances"]


def test_all_wrong_values_are_reported_at_once() -> None:
    faults = _faults(spot="maybe", quiet_seconds=1, base_model="gpt-3", training_instance="ml.m5.xlarge")
    assert set(faults) == {"spot", "quiet_seconds", "base_model", "training_instance"}


def test_a_mistyped_key_is_not_ignored() -> None:
    assert "Did you mean quiet_seconds" in _faults(quite_seconds=60)["quite_seconds"]


def test_a_model_too_large_for_its_instance_gets_one_that_fits() -> None:
    faults = _faults(base_model="llama-3.1-8b", huggingface_token_secret="hf")
    assert "Give ml.g6e.xlarge" in faults["training_instance"]
    assert read(
        {
            "base_model": "llama-3.1-8b",
            "huggingface_token_secret": "hf",
            "training_instance": "ml.g6e.xlarge",
        }
    ).model.gated


def test_a_gated_model_needs_a_token_and_says_how_to_get_one() -> None:
    fault = _faults(base_model="llama-3.2-1b")["base_model"]
    assert "https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct" in fault
    assert "create-secret" in fault


def test_a_model_may_be_named_by_its_id() -> None:
    model = read({"base_model": "EleutherAI/pythia-410m", "base_model_revision": "step3000"}).model
    assert (model.id, model.revision, model.slug) == (
        "EleutherAI/pythia-410m",
        "step3000",
        "eleutherai--pythia-410m",
    )


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("", {}),
        ({"ml.g6.xlarge": 1.13}, {"ml.g6.xlarge": 1.13}),
        ("ml.g6.xlarge=1.13, ml.g5.xlarge=1.41", {"ml.g6.xlarge": 1.13, "ml.g5.xlarge": 1.41}),
    ],
)
def test_prices_can_be_given_in_cdk_json_and_on_the_command_line(
    given: object, read_as: dict[str, float]
) -> None:
    assert read({"instance_prices_usd": given}).instance_prices_usd == read_as


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ml.g6.xlarge", "Give dollars an hour by instance"),
        ("ml.g6.xlarge=0", "Give dollars an hour by instance"),
        ({"ml.g6.xlarge": float("inf")}, "Give dollars an hour by instance"),
        ({"g6.xlarge": 1.13}, "Give ml.g6.xlarge"),
        ({"ml.g6.xlrage": 1.13}, "such as ml.g6"),
        (5, "Give dollars an hour by instance"),
    ],
)
def test_an_invalid_price_is_refused_with_its_cure(given: object, says: str) -> None:
    assert says in _faults(instance_prices_usd=given)["instance_prices_usd"]


def test_the_page_of_settings_explains_each() -> None:
    page, _, _ = (_CHECKOUT / "docs" / "settings.md").read_text().partition("## The catalogue")
    assert re.findall(r"^\| `(\w+)`", page, re.M) == list(Settings.model_fields)


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.lists(st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from(list(Settings.model_fields)), _VALUES))
def test_any_value_is_accepted_or_reported(context: dict[str, Any]) -> None:
    try:
        settings = read(context)
    except SettingsError as error:
        keys = {fault.key for fault in error.faults}
        # An instance that is too small is told although only the model was given.
        assert keys <= set(context) | {"training_instance", "hosting_instance"}
        assert all(fault.cure for fault in error.faults)
    else:
        assert Settings.model_validate(settings.model_dump()) == settings
        assert settings.model.id


def _enumeration(shape_name: str) -> set[str]:
    shape: Any = botocore.session.get_session().get_service_model("sagemaker").shape_for(shape_name)
    return set(shape.enum)


@pytest.mark.parametrize("shape_name", ["TrainingInstanceType", "ProductionVariantInstanceType"])
def test_every_instance_can_train_and_host(shape_name: str) -> None:
    assert set(GPU_OF_INSTANCE) <= _enumeration(shape_name)


@pytest.mark.aws_fact
def test_an_evaluation_runs_only_on_what_processing_jobs_can_have() -> None:
    allowed = _enumeration("ProcessingInstanceType")
    assert {"ml.p4d.24xlarge", "ml.p4de.24xlarge", "ml.p5.48xlarge"} == set(GPU_OF_INSTANCE) - allowed
    for instance in GPU_OF_INSTANCE:
        evaluated_on = read({"training_instance": instance}).evaluation_instances
        assert set(evaluated_on) <= allowed
        assert evaluated_on[0] == (instance if instance in allowed else "ml.g6.xlarge")


def test_an_evaluation_has_room_for_the_model() -> None:
    large = {"base_model": "someone/story-14B", "hosting_instance": "ml.g6e.xlarge"}
    settings = read({**large, "training_instance": "ml.p4de.24xlarge"})
    assert settings.evaluation_instances == ["ml.g6e.xlarge"], "an ml.g5.xlarge is too small"


def test_a_training_that_nothing_could_evaluate_is_refused() -> None:
    faults = _faults(
        base_model="someone/story-30B",
        training_instance="ml.p5.48xlarge",
        hosting_instance="ml.p5.48xlarge",
        hosting_fallback_instances="",
    )
    assert list(faults) == ["training_instance"]
    assert "no processing jobs" in faults["training_instance"]
    assert "Give ml.p5.4xlarge, or add it to hosting_fallback_instances" in faults["training_instance"]


def test_batches_run_on_instances_that_transform_jobs_can_have() -> None:
    allowed = _enumeration("TransformInstanceType")
    for instance in GPU_OF_INSTANCE:
        # p2, p3 and the like are too old for the containers
        fits = read({"hosting_instance": instance, "hosting_fallback_instances": ""}).transform_instances
        assert fits == ([instance] if instance in allowed else []), instance
