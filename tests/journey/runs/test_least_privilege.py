"""Each permission is needed, and enforced: taken away, the run fails with an error that names the action."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.journey.deployed_app import STORIES, Deployed
from tests.journey.permissions import without

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

# (part of the role's name, the action taken away)
NEEDED = [
    ("BeginRole", "s3:ListBucketVersions"),
    ("ReadStoriesRole", "s3:PutObject"),
    ("AssembleRole", "s3:PutObject"),
    ("PipelineRole", "sagemaker:CreateTrainingJob"),
    ("PipelineRole", "iam:PassRole"),
    ("JobRole", "s3:GetObject"),
]


@pytest.fixture(scope="module")
def stories_again(deployed: Deployed) -> Iterator[None]:
    """The stories are in the bucket, and no run is on: the one they start fails in its first state."""
    deployed.start_afresh()
    with without(deployed, "BeginRole", "s3:ListBucketVersions"):
        texts = {f"again/{path.name}": path.read_bytes() for path in STORIES}
        assert deployed.drop_and_finish(texts)["status"] == "failed"
    yield
    # what another test drops beside them would be enough to train on
    deployed.empty_bucket()


@pytest.mark.parametrize(("role_part", "action"), NEEDED, ids=[f"{role}-{action}" for role, action in NEEDED])
def test_a_run_without_the_permission_fails_and_names_it(
    deployed: Deployed, stories_again: None, role_part: str, action: str
) -> None:
    with without(deployed, role_part, action):
        run = deployed.finished_run(deployed.start_run())
    assert run["status"] == "failed"
    assert action in json.dumps(run["failure"]), run["failure"]
    assert run["message"]
