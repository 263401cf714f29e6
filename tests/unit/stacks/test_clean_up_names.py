"""The clean-up may stop and delete the jobs that the functions name, however long the app's name is."""

from fnmatch import fnmatchcase

import pytest

from contracts.resource_names import AppNames
from contracts.settings import Settings
from stacks.custom_resources.clean_up import job_patterns

RUN = "20261101-090000-aaaa"


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    "name", ["fables", "storyloom", "storyloom-two", "grandmas-evening-1", "a-long-name-of-app"]
)
def test_the_clean_up_reaches_the_jobs_of_an_app_with_a_long_name(name: str) -> None:
    search = AppNames(name).tuning_job(RUN)
    assert len(search) <= 32
    jobs = {
        "HyperParameterTuning": [f"hyper-parameter-tuning-job/{search}"],
        "Training": [
            f"training-job/{AppNames(name).training_job(RUN)}",
            f"training-job/{search}-001-0f3c2a1b",
        ],
        "Processing": [f"processing-job/{AppNames(name).evaluation_job(RUN)}"],
        "Transform": [f"transform-job/{AppNames(name).transform_job(RUN)}"],
    }
    patterns = job_patterns(Settings(name=name))
    for kind, made in jobs.items():
        for job in made:
            assert any(fnmatchcase(job, pattern) for pattern in patterns[kind]), job
