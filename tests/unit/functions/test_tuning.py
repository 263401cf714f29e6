"""The search: its cost is limited before it starts, and its best trial is evaluated."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from assemble import job_plan
from choose_best.handler import NoTrialSucceeded
from choose_best.handler import handler as choose_best
from contracts import environment
from contracts.environment import Assembly
from price_list.price import Price
from shared.runs import run_records
from stories.dataset.training_plan import GRACE_MINUTES, SPOT_WAIT_HOURS
from tests.unit.functions.conftest import DeployedResources

RUN = "20260907-090000-ffff"
PRICE = Price(1.13, "2026-09-01", "a test")
GIVEN = {"seed": "17", "max_seconds": "14400"}


def _settings(*, budget: float, jobs: int = 6, tune: bool = True) -> Assembly:
    return Assembly.model_construct(
        tune=tune,
        tuning_jobs=jobs,
        tuning_budget_usd=budget,
        training_instance="ml.g6.xlarge",
        max_training_minutes=240,
        spot=True,
    )


@pytest.mark.parametrize(
    ("budget", "minutes", "trials"),
    [(10, 10, 6), (1, 10, 5), (0.5, 10, 2), (0.3, 10, 0), (10, 600, 0), (1, 0.0, 6)],
)
def test_the_budget_decides_how_many_trials(
    resources: DeployedResources, budget: float, minutes: float, trials: int
) -> None:
    search = job_plan.plan_search(
        environment.common(), _settings(budget=budget), RUN, GIVEN, minutes, price=PRICE
    )
    if not trials:
        assert search is None
        return
    assert search is not None
    limits = search["resource_limits"]
    assert limits["MaxNumberOfTrainingJobs"] == trials
    each = search["stopping_condition"]["MaxRuntimeInSeconds"]
    assert trials * each / 3600 * PRICE.usd_per_hour <= budget, (
        "each trial's own limit keeps all of them within the budget"
    )
    assert float(search["static_hyperparameters"]["max_seconds"]) < each, "a trial has time to save"
    assert set(limits) == {"MaxNumberOfTrainingJobs", "MaxParallelTrainingJobs"}


def test_a_search_takes_no_longer_than_one_training_may(resources: DeployedResources) -> None:
    search = job_plan.plan_search(
        environment.common(), _settings(budget=1000, jobs=7), RUN, GIVEN, 10, price=PRICE
    )
    assert search is not None
    limit = search["stopping_condition"]
    assert 4 * limit["MaxRuntimeInSeconds"] <= (240 + GRACE_MINUTES) * 60
    assert 4 * (limit["MaxWaitTimeInSeconds"] - limit["MaxRuntimeInSeconds"]) <= SPOT_WAIT_HOURS * 3600


def test_no_search_if_it_is_off_or_its_price_is_not_known(resources: DeployedResources) -> None:
    common = environment.common()
    assert job_plan.plan_search(common, _settings(budget=10, tune=False), RUN, {}, 10, price=PRICE) is None
    assert job_plan.plan_search(common, _settings(budget=10), RUN, {}, 10, price=None) is None


def test_what_is_tuned_is_not_fixed_as_well(resources: DeployedResources) -> None:
    given = {**GIVEN, "epochs": "3", "lora_rank": "16", "learning_rate": "0.001"}
    search = job_plan.plan_search(environment.common(), _settings(budget=10), RUN, given, 10, price=PRICE)
    assert search is not None
    fixed = search["static_hyperparameters"]
    assert fixed["seed"] == "17"
    assert not fixed.keys() & {"epochs", "lora_rank", "learning_rate"}
    assert len(search["job_name"]) <= 32


def test_the_best_trial_takes_the_training_jobs_place(
    resources: DeployedResources, context: LambdaContext
) -> None:
    jobs = {
        "training_job_name": "storyloom-train-x",
        "training_output_uri": f"s3://a/runs/{RUN}/training/",
        "processing_inputs": [
            {"InputName": "candidate", "S3Input": {"S3Uri": "s3://a/old/", "LocalPath": "/p"}},
            {"InputName": "test", "S3Input": {"S3Uri": "s3://a/test/"}},
        ],
    }
    chosen = {"lora_rank": "32", "learning_rate": "0.00042", "epochs": "3"}
    tuned = {
        "TrainingJobStatusCounters": {"Completed": 4, "Stopped": 2},
        "BestTrainingJob": {"TrainingJobName": "storyloom-x-003-ab", "TunedHyperParameters": chosen},
    }
    after = choose_best({"run_id": RUN, "jobs": jobs, "tuned": tuned}, context)
    assert after["training_job_name"] == "storyloom-x-003-ab"
    candidate, test = after["processing_inputs"]
    assert candidate["S3Input"] == {
        "S3Uri": f"s3://a/runs/{RUN}/training/storyloom-x-003-ab/output/model.tar.gz",
        "LocalPath": "/p",
    }
    assert test == jobs["processing_inputs"][1]
    run = run_records.get(RUN)
    assert run is not None
    assert (
        run.message == "The best of 6 trials trained with rank 32, "
        "learning rate 0.00042 and 3 epochs at most."
    )
    with pytest.raises(NoTrialSucceeded, match="tuning_budget_usd"):
        choose_best({"run_id": RUN, "jobs": jobs, "tuned": {}}, context)
