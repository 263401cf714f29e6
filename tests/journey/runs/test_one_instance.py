"""A further version is deployed while the model is awake, and the account may have one instance for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cli.run_progress import wait_for_new_run
from shared import clock
from tests.journey.deployed_app import PATIENCE_S, Deployed, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.journey]

_LIMITS = {"ml.g6.xlarge": 1, "ml.g5.xlarge": 0, "ml.g6e.xlarge": 0}
_AMPLE = 20


@pytest.fixture
def one_instance(deployed: Deployed) -> Iterator[None]:
    """The account's quotas, for as long as the test takes."""
    for instance, limit in _LIMITS.items():
        deployed.cloud.set_quota(f"{instance} for endpoint usage", limit)
    yield
    for instance in _LIMITS:
        deployed.cloud.set_quota(f"{instance} for endpoint usage", _AMPLE)


@pytest.mark.usefixtures("one_instance")
def test_the_version_goes_live_by_replacement(
    deployed: Deployed, live_version: str, another_version: str
) -> None:
    deployed.answers_as(live_version)
    retired = {"Bucket": deployed.outputs["ArtifactsBucketName"], "Key": "hosting/v0/base/model.safetensors"}
    deployed.client("s3").put_object(**retired, Body=b"an old bundle")
    known = {run["run_id"] for run in deployed.api.runs()}
    deployed.api.decide_version(another_version, "activate")
    run_id = wait_for_new_run(deployed.api, known, PATIENCE_S)
    wait_for(lambda: "takes over when nobody has used" in (deployed.api.run(run_id)["message"] or "") or None)
    deployed.answers_as(live_version)

    _age_last_use(deployed)
    run = deployed.finished_run(run_id)
    assert run["status"] == "succeeded", run
    deployed.answers_as(another_version)
    assert deployed.api.status()["live"]["version"] == another_version
    assert len(deployed.engines()) == 1

    kept = deployed.client("s3").list_objects_v2(Bucket=retired["Bucket"], Prefix="hosting/", Delimiter="/")
    bundles = {found["Prefix"] for found in kept["CommonPrefixes"]}
    assert bundles == {f"hosting/{version}/" for version in (live_version, another_version)}


def _age_last_use(deployed: Deployed) -> None:
    """Make the last question old enough for nobody to be in mid-answer."""
    earlier = clock.text(clock.now() - timedelta(minutes=6))
    deployed.table().update_item(
        Key={"pk": "HOSTING", "sk": "STATE"},
        UpdateExpression="SET last_used_at = :earlier",
        ExpressionAttributeValues={":earlier": earlier},
    )
