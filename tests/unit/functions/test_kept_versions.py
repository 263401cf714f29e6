"""Versions of an earlier deployment, whose registry is deleted, can still be approved and rejected."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from contracts.statuses import VersionStatus
from shared import clock
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import versions
from tests.unit.functions.conftest import BASE_MODEL, DeployedResources, caller_headers

EMAIL = "writer@example.com"


@pytest.fixture
def api(resources: DeployedResources, lambdas_at_once: None) -> Iterator[TestClient]:
    with TestClient(app, headers=caller_headers(email=EMAIL)) as client:
        yield client


def _keep(version: str, status: VersionStatus) -> None:
    versions.save(
        ModelVersion(
            version=version,
            run_id="20260906-090000-eeee",
            status=status,
            adapter_uri="s3://a/m/",
            adapter_sha256="b" * 64,
            base_model=str(BASE_MODEL["id"]),
            base_revision="r1",
            created_at=clock.stamp(),
        )
    )


def _found(version: str) -> ModelVersion:
    model = versions.get(version)
    assert model is not None
    return model


def test_a_version_that_waited_can_still_be_approved(resources: DeployedResources, api: TestClient) -> None:
    _keep("v3", "pending")
    assert api.post("/api/models/v3/approve").status_code == 202
    assert (_found("v3").status, _found("v3").decided_by) == ("approved", "u1")
    machines = clients.stepfunctions()
    (run,) = machines.list_executions(stateMachineArn=resources.state_machine_arn)["executions"]
    told = json.loads(machines.describe_execution(executionArn=run["executionArn"])["input"])
    assert told["version"] == "v3"


def test_a_waiting_version_is_rejected(api: TestClient) -> None:
    _keep("v3", "pending")
    assert api.post("/api/models/v3/reject").status_code == 202
    assert _found("v3").status == "rejected"


def test_package_references_are_cleared_once(resources: DeployedResources) -> None:
    _keep("v3", "approved")
    versions.save(_found("v3").model_copy(update={"model_package_arn": "arn:old"}))
    versions.clear_packages()
    versions.clear_packages()
    assert _found("v3").model_package_arn is None
    assert versions.find_by_package("arn:old") is None, "the next registry counts from 1 again"
