"""The clean-up may stop and delete the jobs that the functions name, however long the app's name is."""

from fnmatch import fnmatchcase

import pytest

from shared import layout
from stacks.clean_up import job_patterns
from stacks.settings import Settings

RUN = "20261101-090000-aaaa"


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    "name", ["fables", "storyloom", "storyloom-two", "grandmas-evening-1", "a-long-name-of-app"]
)
def test_the_clean_up_reaches_the_jobs_of_an_app_with_a_long_name(name: str) -> None:
    search = layout.tuning_job(name, RUN)
    assert len(search) <= 32
    jobs = {
        "HyperParameterTuning": [f"hyper-parameter-tuning-job/{search}"],
        "Training": [
            f"training-job/{layout.training_job(name, RUN)}",
            f"training-job/{search}-001-0f3c2a1b",
        ],
        "Processing": [f"processing-job/{layout.evaluation_job(name, RUN)}"],
        "Transform": [f"transform-job/{layout.transform_job(name, RUN)}"],
    }
    patterns = job_patterns(Settings(name=name))
    for kind, made in jobs.items():
        for job in made:
            assert any(fnmatchcase(job, pattern) for pattern in patterns[kind]), job
