"""Versions: approval before one answers, returning to an earlier one, and one lock for all of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from activate.handler import NotDeployable
from activate.handler import handler as activate
from announce.handler import handler as announce
from chat_api.app import app
from contracts.statuses import VersionStatus
from on_version_reviewed.handler import handler as on_version_reviewed
from register.handler import handler as register
from shared import clock, table
from shared.aws import clients
from shared.hosting import hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import lock, run_records
from start_run.handler import handler as start_run
from tests.unit.functions.conftest import ACCOUNT, BASE_MODEL, DeployedResources, Letters, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

RUN = "20260906-090000-eeee"
EMAIL = "writer@example.com"
CONTEXT = caller_headers(email=EMAIL)


@pytest.fixture
def api(resources: DeployedResources, lambdas_at_once: None) -> Iterator[TestClient]:
    """The app, for a person who has signed in; what it has started is started here."""
    with TestClient(app, headers=CONTEXT) as client:
        yield client


def _gate(deploy: bool) -> dict[str, Any]:
    return {
        "deploy": deploy,
        "decision": "The new model is better." if deploy else "It is not better.",
        "base_perplexity": 30.0,
        "tuned_perplexity": 24.0 if deploy else 31.0,
        "live_perplexity": None,
        "adapter_uri": "s3://a/runs/x/training/j/output/model/",
        "adapter_sha256": "e" * 64,
    }


def _register(context: LambdaContext, *, deploy: bool = True, run_id: str = RUN) -> dict[str, Any]:
    event = {"run_id": run_id, "gate": _gate(deploy), "training_job": "j", "stories": 3, "words": 999}
    return register(event, context)


def _save(version: str, status: VersionStatus, revision: str = "r1") -> None:
    model = ModelVersion(
        version=version,
        run_id=RUN,
        status=status,
        adapter_uri="s3://a/m/",
        adapter_sha256="b" * 64,
        model_package_arn=f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/storyloom/{version[1:]}",
        base_model=str(BASE_MODEL["id"]),
        base_revision=revision,
        created_at=clock.stamp(),
    )
    versions.save(model)


def _decision(arn: str, status: str) -> dict[str, Any]:
    return {
        "detail-type": "SageMaker Model Package State Change",
        "time": "2026-09-06T10:00:00Z",
        "detail": {"ModelPackageArn": arn, "ModelApprovalStatus": status},
    }


def _status(version: str) -> str:
    model = versions.get(version)
    assert model is not None
    return model.status


def _going(resources: DeployedResources) -> list[dict[str, Any]]:
    """Inputs of the executions that go on."""
    client = clients.stepfunctions()
    found = client.list_executions(stateMachineArn=resources.state_machine_arn, statusFilter="RUNNING")
    return [
        json.loads(client.describe_execution(executionArn=execution["executionArn"])["input"])
        for execution in found["executions"]
    ]


@pytest.mark.parametrize(
    ("setting", "deploy", "status", "in_the_registry"),
    [
        ("automatic", True, "approved", "Approved"),
        ("manual", True, "pending", "PendingManualApproval"),
        ("manual", False, "rejected", "Rejected"),
    ],
)
def test_the_setting_decides_who_approves(
    *,
    resources: DeployedResources,
    context: LambdaContext,
    sagemaker: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    deploy: bool,
    status: str,
    in_the_registry: str,
) -> None:
    monkeypatch.setenv("STORYLOOM_APPROVAL", setting)
    registered = _register(context, deploy=deploy)
    assert registered["status"] == status == _status(registered["version"])
    assert sagemaker.packages[0]["ModelApprovalStatus"] == in_the_registry
    assert ("waits for your approval" in registered["message"]) is (status == "pending")


def test_the_owner_gets_the_commands_to_answer(
    resources: DeployedResources, context: LambdaContext, letters: Letters
) -> None:
    lock.acquire(RUN, "arn:e")
    run_records.enter(RUN, "Register", version="v3")
    message = "v3 waits for your approval."
    announce({"run_id": RUN, "outcome": "pending_approval", "message": message}, context)
    (letter,) = letters()
    assert letter["Subject"] == "Storyloom: a new model waits for your approval"
    for part in ("https://page.example/#/models", "storyloom models approve v3", "models reject v3"):
        assert part in letter["Message"]
    assert lock.holder() is None, "a model may wait for weeks; the next run must not"


def test_an_approval_on_the_page_goes_through_the_registry_and_deploys(
    *,
    resources: DeployedResources,
    context: LambdaContext,
    sagemaker: StandIn,
    api: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORYLOOM_APPROVAL", "manual")
    arn = _register(context)["model_package_arn"]
    answer = api.post("/api/models/v1/approve")
    assert answer.status_code == 202
    model = answer.json()["model"]
    assert (model["decided_by"], model["decided_by_name"]) == ("u1", EMAIL)
    assert sagemaker.packages[0]["ModelApprovalStatus"] == "Approved"
    assert EMAIL in sagemaker.packages[0]["ApprovalDescription"]
    assert _going(resources) == [], "only the registry's event starts the deployment"

    event = _decision(arn, "Approved")
    assert on_version_reviewed(event, context) == {"version": "v1", "changed": True}
    assert on_version_reviewed(event, context) == {"version": "v1", "changed": False}
    (told,) = _going(resources)
    assert told["version"] == "v1"
    assert _status("v1") == "approved"
    assert api.post("/api/models/v1/approve").json()["message"] == "v1 is approved already."


def test_a_crash_before_the_approval_is_recorded_starts_one_run(
    resources: DeployedResources, context: LambdaContext, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save("v4", "pending")
    event = _decision(f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/storyloom/4", "Approved")
    with monkeypatch.context() as broken:
        broken.setattr(versions, "set_reviewed_status", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            on_version_reviewed(event, context)
    assert on_version_reviewed(event, context)["changed"]
    assert len(_going(resources)) == 1
    held = lock.holder()
    assert held is not None
    assert held.wanted_version is None


def test_a_package_that_a_run_approves_by_itself_starts_nothing_more(
    resources: DeployedResources, context: LambdaContext, api: TestClient
) -> None:
    arn = _register(context)["model_package_arn"]
    assert on_version_reviewed(_decision(arn, "Approved"), context)["changed"] is False
    assert on_version_reviewed(_decision("arn:none", "Approved"), context)["version"] is None
    assert _going(resources) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("pending", "rejected"), ("approved", "rejected"), ("live", "live"), ("previous", "previous")],
)
def test_a_rejection_leaves_the_live_version(
    resources: DeployedResources, context: LambdaContext, before: VersionStatus, after: str
) -> None:
    _save("v2", before)
    arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model-package/storyloom/2"
    assert on_version_reviewed(_decision(arn, "Rejected"), context)["changed"] is (before != after)
    assert _status("v2") == after


def test_going_back_is_a_run_that_deploys(
    resources: DeployedResources, context: LambdaContext, api: TestClient
) -> None:
    _save("v1", "previous")
    answer = api.post("/api/models/v1/activate")
    assert answer.status_code == 202
    (told,) = _going(resources)
    assert (told["version"], told["reason"]) == ("v1", f"{EMAIL} chose v1")
    registered = activate({**told, "execution_arn": "arn:e"}, context)
    assert (registered["version"], registered["status"]) == ("v1", "approved")
    assert not registered["preloaded"]
    run = run_records.get(told["run_id"])
    assert run is not None
    assert (run.step, run.version) == ("Activate", "v1")


V2_BUNDLE = "s3://a/hosting/v2/"


def _live_v2_after_v1(*, merged: bool = False, v2_revision: str = "r1") -> None:
    """Have v2 answer, from a bundle that it shares with v1."""
    for version, revision in (("v1", "r1"), ("v2", v2_revision)):
        _save(version, "approved", revision)
        model = versions.get(version)
        assert model is not None
        versions.make_live(model, f"s3://a/hosting/{version}/", merged=merged)


def _activate(version: str, context: LambdaContext) -> dict[str, Any]:
    started = start_run({"reason": "by hand", "version": version}, context)
    event = {"run_id": started["run_id"], "reason": "by hand", "version": version}
    held = lock.holder()
    assert held is not None
    for _ in range(2):  # Step Functions may call once more, when the first call did its work and then died
        registered = activate({**event, "execution_arn": held.execution_arn}, context)
    return registered


@pytest.mark.parametrize("status", ["asleep", "awake"])
def test_a_version_that_is_loaded_answers_at_once(
    resources: DeployedResources, context: LambdaContext, sagemaker: StandIn, status: str
) -> None:
    _live_v2_after_v1()
    if status == "awake":
        hosting_state.mark_awake("v2", "storyloom-v2-g6-xlarge-0f3c2a1b")
    assert _activate("v1", context)["preloaded"]
    pointer = versions.live()
    assert pointer is not None
    assert (pointer.version, pointer.previous, pointer.bundle_uri) == ("v1", "v2", V2_BUNDLE)
    assert pointer.adapter_sha256 == "b" * 64
    assert (_status("v1"), _status("v2")) == ("live", "previous")
    assert sagemaker.calls == [], "what sleeps goes on sleeping, and what answers goes on answering"
    state = hosting_state.state()
    assert state.status == status
    if status == "awake":
        assert (state.version, state.message) == ("v1", "v1 answers.")


@pytest.mark.parametrize("how", [{"merged": True}, {"v2_revision": "r2"}])
def test_a_version_that_is_not_loaded_is_deployed(
    resources: DeployedResources, context: LambdaContext, how: dict[str, Any]
) -> None:
    """One that is loaded alone, merged with its base; or beside one of another base, which is set no more."""
    _live_v2_after_v1(**how)
    assert not _activate("v1", context)["preloaded"]
    pointer = versions.live()
    assert pointer is not None and pointer.version == "v2"


@pytest.mark.parametrize(
    ("status", "call", "kind"),
    [
        ("pending", "activate", "not_approved"),
        ("rejected", "activate", "not_approved"),
        ("failed", "approve", "was_approved"),
        ("live", "reject", "in_use"),
        ("previous", "reject", "in_use"),
    ],
)
def test_an_invalid_review_is_refused_with_a_cure(
    resources: DeployedResources, api: TestClient, status: VersionStatus, call: str, kind: str
) -> None:
    _save("v5", status)
    answer = api.post(f"/api/models/v5/{call}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, kind)
    assert answer.json()["error"]["cure"]
    assert _status("v5") == status
    assert api.post(f"/api/models/v6/{call}").status_code == 404


def test_a_version_of_another_base_is_refused_everywhere(
    resources: DeployedResources, context: LambdaContext, api: TestClient
) -> None:
    _save("v1", "approved", revision="older")
    assert api.post("/api/models/v1/activate").json()["error"]["type"] == "other_base_model"
    event = {"run_id": RUN, "reason": "by hand", "execution_arn": "arn:e", "version": "v1"}
    with pytest.raises(NotDeployable, match="Set base_model"):
        activate(event, context)


def test_a_version_that_is_activated_during_a_run_follows_it(
    resources: DeployedResources, context: LambdaContext, api: TestClient
) -> None:
    going = start_run({"reason": "stories arrived"}, context)["run_id"]
    start_run({"reason": "more stories"}, context)
    _save("v1", "previous")
    assert (
        f"Run {going} is in progress. v1 is deployed when"
        in api.post("/api/models/v1/activate").json()["message"]
    )
    announce({"run_id": going, "outcome": "succeeded", "message": "Done."}, context)
    assert lock.holder() is None
    listed = clients.scheduler().list_schedules(GroupName=resources.schedule_group)["Schedules"]
    assert sorted(schedule["Name"] for schedule in listed) == ["deploy", "quiet"]
    target = clients.scheduler().get_schedule(Name="deploy", GroupName=resources.schedule_group)["Target"]
    assert json.loads(target["Input"])["version"] == "v1"


def test_taking_over_a_dead_lock_keeps_its_requests(
    resources: DeployedResources, context: LambdaContext
) -> None:
    dead = "arn:aws:states:us-east-1:123456789012:execution:gone:x"
    lock.acquire("20260801-000000-dead", dead)
    lock.request_rerun("20260801-000000-dead")
    table.update("LOCK", "PIPELINE", {"acquired_at": "2026-08-01T00:00:00.000Z"})
    assert start_run({"version": "v1", "reason": "chosen"}, context)["started"]
    held = lock.holder()
    assert held is not None
    assert held.pending, "the run of the new stories is still queued"


def test_versions_are_listed_newest_first(resources: DeployedResources, api: TestClient) -> None:
    for number in (1, 2, 10):
        _save(f"v{number}", "approved")
    listed = api.get("/api/models").json()["models"]
    assert [model["version"] for model in listed] == ["v10", "v2", "v1"]
    assert "adapter_uri" not in listed[0]
