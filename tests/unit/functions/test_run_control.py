"""Starting and stopping a run by hand: by whom, and the effects on its record and its lock."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from chat_api.app import app
from record_failure.handler import handler as record_failure
from shared.aws import clients
from shared.runs import lock, run_records
from tests.unit.functions.conftest import DeployedResources, Letters, caller_headers

EMAIL = "writer@example.com"
RUN = "20260907-090000-eeee"


@pytest.fixture
def api(resources: DeployedResources, lambdas_at_once: None) -> Iterator[TestClient]:
    """The app, for a person who has signed in."""
    with TestClient(app, headers=caller_headers(email=EMAIL), raise_server_exceptions=False) as client:
        yield client


def _started(api: TestClient) -> str:
    """Start a run as a person does, and write the record that its first state would."""
    run_id: str = api.post("/api/runs").json()["run_id"]
    held = lock.holder()
    assert held is not None
    run_records.create_run(run_id, held.execution_arn, "by hand")
    return run_id


def _ended(run_id: str) -> dict[str, Any]:
    """What EventBridge says of the run's execution, which has ended."""
    run = run_records.get(run_id)
    assert run is not None
    told: Any = clients.stepfunctions().describe_execution(executionArn=run.execution_arn or "")
    detail = {"name": run_id, **{key: told.get(key) for key in ("status", "error", "cause")}}
    return {"detail-type": "Step Functions Execution Status Change", "detail": detail}


def test_a_person_starts_a_run(api: TestClient, resources: DeployedResources) -> None:
    answer = api.post("/api/runs")
    assert answer.status_code == 202
    told = answer.json()
    assert told["started"]
    assert told["message"] == f"Run {told['run_id']} started: {EMAIL} started it."
    (execution,) = clients.stepfunctions().list_executions(stateMachineArn=resources.state_machine_arn)[
        "executions"
    ]
    assert execution["name"] == told["run_id"]


def test_one_more_run_follows_the_run_in_progress(api: TestClient) -> None:
    first = _started(api)
    again = api.post("/api/runs")
    assert again.status_code == 202
    assert again.json() == {
        "started": False,
        "run_id": first,
        "message": "A run is in progress. Another starts when it finishes.",
    }
    held = lock.holder()
    assert held is not None
    assert held.pending


def test_again_is_not_queued_behind_a_run_and_the_message_says_so(api: TestClient) -> None:
    """The run that follows is the one that new stories get, too."""
    _started(api)
    said = api.post("/api/runs", json={"again": True}).json()
    assert not said["started"]
    assert said["message"].startswith("A run is in progress. Another starts when it finishes.")
    assert "only if something has changed" in said["message"]


def test_a_run_that_cannot_be_started_is_an_error(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def invoke(self, **call: Any) -> dict[str, Any]:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "Oh."}')}

    monkeypatch.setattr(clients, "lambdas", Failing)
    assert api.post("/api/runs").status_code == 500


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ({"email": EMAIL}, EMAIL),
        (
            {"sub": "key:0123456789ab", "username": "nightly", "email": EMAIL, "scopes": "write"},
            f"{EMAIL} (API key nightly)",
        ),
    ],
)
def test_a_stopped_run_says_who_stopped_it_and_frees_the_lock(
    *, api: TestClient, context: LambdaContext, letters: Letters, who: dict[str, str], name: str
) -> None:
    run_id = _started(api)
    run_records.enter(run_id, "Train")
    answer = api.post(f"/api/runs/{run_id}/stop", headers=caller_headers(**who))
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"run_id": run_id, "message": f"Run {run_id} is being stopped."}
    event = _ended(run_id)
    assert event["detail"]["status"] == "ABORTED"
    record_failure(event, context)
    run = run_records.get(run_id)
    assert run is not None
    assert (run.status, run.message) == ("failed", f"Train was stopped: {name} stopped the run.")
    assert lock.holder() is None
    (letter,) = letters()
    assert letter["Subject"] == "Storyloom: a run was stopped in Train"
    assert name in letter["Message"]
    late = api.post(f"/api/runs/{run_id}/stop")
    assert (late.status_code, late.json()["error"]["type"]) == (409, "has_ended")


def test_two_concurrent_stops_are_one(api: TestClient, context: LambdaContext) -> None:
    run_id = _started(api)
    assert [api.post(f"/api/runs/{run_id}/stop").status_code for _ in range(2)] == [202, 202]
    record_failure(_ended(run_id), context)
    assert lock.holder() is None


def test_a_run_whose_execution_is_gone_has_ended(api: TestClient) -> None:
    run_records.enter(RUN, "Train")
    answer = api.post(f"/api/runs/{RUN}/stop")
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "has_ended")


def test_an_unknown_run(api: TestClient) -> None:
    answer = api.post(f"/api/runs/{RUN}/stop")
    assert answer.status_code == 404
    assert answer.json()["error"]["cure"] == "GET /api/runs lists the runs."
