"""The gate's rules: what is rejected, and with which reason."""

from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import s3_keys
from contracts.environment import GateRules
from gate.handler import UnreadableEvaluationError
from gate.handler import handler as gate
from gate.rules import decide
from shared.aws import clients
from shared.runs.evaluation import EvaluationResult
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.evaluations import evaluation

RULES = GateRules(
    minimum_improvement_percent=2,
    maximum_copy_percent=10,
    maximum_repetition_percent=50,
    minimum_ending_percent=1,
)


def decided(found: dict[str, Any], **writing: float) -> tuple[bool, str]:
    found["candidate"]["writing"].update(writing)
    decision = decide(EvaluationResult.model_validate(found), RULES)
    return decision.deploy, decision.words


def test_a_better_model_is_deployed_and_its_figures_are_announced() -> None:
    deploys, words = decided(evaluation(30.0, 24.0, 25.0))
    assert deploys
    assert "perplexity 24.0" in words and "20.0% lower (95% interval: 19.0% to 21.0%)" in words
    assert "the live one 25.0" in words


def test_what_may_be_chance_is_refused() -> None:
    deploys, words = decided(evaluation(30.0, 28.5, margin=6.0))
    assert not deploys and "by chance only" in words and "5.0% lower (95% interval: -1.0% to 11.0%)" in words


def test_too_few_held_out_stories_are_the_reason() -> None:
    found = evaluation(30.0, 24.0)
    found["over_base"].update(low=None, high=None)
    found.update(drawn=None, drawn_from=0, test_stories=1)
    deploys, words = decided(found)
    assert not deploys and "too few held-out stories to tell whether it is better (1," in words


@pytest.mark.parametrize(
    ("live", "margin", "deploys"), [(24.0, 1.0, True), (23.9, 1.0, True), (22.0, 1.0, False)]
)
def test_only_worse_than_live_beyond_the_interval_is_refused(
    *, live: float, margin: float, deploys: bool
) -> None:
    deployed, words = decided(evaluation(30.0, 24.0, live, margin))
    assert deployed is deploys
    assert ("is worse than the one that is live" in words) is not deploys


@pytest.mark.parametrize(
    ("writing", "words"),
    [
        ({"copied_share": 0.3, "longest_copy": 31}, "copies: 30% of what it writes is copied word for word"),
        ({"longest_copy": 70}, "copies: it wrote 70 words in a row"),
        ({"extracted_share": 0.55}, "has memorised your stories: given the first words of one, 55%"),
        ({"repeated": 0.8}, "repeats itself: 80% of what it writes repeats what it has just written"),
    ],
)
def test_bad_writing_is_refused_however_good_the_perplexity(writing: dict[str, float], words: str) -> None:
    deploys, said = decided(evaluation(30.0, 20.0), **writing)
    assert not deploys and words in said


def test_a_famous_text_that_the_base_knows_too_is_not_copied() -> None:
    found = evaluation(30.0, 20.0)
    found["base"]["writing"]["extracted_share"] = 0.6
    assert decided(found, extracted_share=0.55)[0]


def test_a_model_that_neither_ends_nor_is_about_to_does_not_stop() -> None:
    found = evaluation(30.0, 20.0)
    found["candidate"]["ending_chance"] = 0.0002
    assert decided(found)[0]
    deploys, words = decided(found, finishing_ended=0)
    assert not deploys and "does not stop" in words and "a probability of 0.02%" in words
    found["candidate"]["ending_chance"] = None  # no held-out story ends: nothing is known
    assert decided(found)[0]


def test_all_reasons_are_named() -> None:
    found = evaluation(30.0, 35.0, 25.0)
    found["candidate"]["ending_chance"] = 0.0
    deploys, words = decided(found, copied_share=0.5, repeated=0.9, finishing_ended=0)
    assert not deploys
    for reason in ("not sufficiently better than the base", "worse than the one that is live", "copies:"):
        assert reason in words
    assert "does not stop" in words and "repeats itself" in words
    assert words.count("and it ") >= 4 and words.endswith("It is kept but not deployed.")


def test_an_evaluation_of_another_version_is_refused_with_the_cure(
    resources: DeployedResources, context: LambdaContext
) -> None:
    run = "20260902-090000-eeee"
    body = b'{"base": {"perplexity": 30.0}}'
    clients.s3().put_object(Bucket=resources.artifacts, Key=s3_keys.evaluation_json(run), Body=body)
    jobs = {
        "processing_job_name": "x",
        "training_job_name": "y",
        "training_output_uri": f"s3://{resources.artifacts}/runs/{run}/training/",
        "evaluation_output_uri": f"s3://{resources.artifacts}/runs/{run}/evaluation/",
    }
    with pytest.raises(UnreadableEvaluationError, match=r"base.writing.*start the run again"):
        gate({"run_id": run, "jobs": jobs}, context)
