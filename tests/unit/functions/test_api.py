"""Status, runs and stories, and the committed description of the API."""

import contextlib
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from chat_api.app import app, openapi_document
from chat_api.services import model_access
from contracts import environment, s3_keys
from shared.aws import clients
from shared.hosting import hosting_state
from shared.runs import run_records
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

CONTEXT = caller_headers()
RUN = "20260904-090000-ffff"


@pytest.fixture
def api(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The app, called as the Web Adapter calls it; no endpoint manager is deployed."""
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", lambda action: None)
    with TestClient(app, headers=CONTEXT) as client:
        yield client


def test_the_committed_description_is_the_api() -> None:
    committed = Path(__file__).parents[3] / "docs" / "openapi.json"
    assert committed.read_text() == openapi_document(), (
        "The API changed. Write its description again: "
        "PYTHONPATH=lambda python -m chat_api.app > docs/openapi.json"
    )


def test_every_error_is_described_in_the_one_form_and_every_route_but_one_needs_a_sign_in() -> None:
    description = app.openapi()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation.get("security") == (None if path == "/api/health" else [{"SignIn": []}])
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (schema,) = (content["schema"] for content in answer["content"].values())
                    assert schema == {"$ref": "#/components/schemas/ErrorBody"}, f"{method} {path} {status}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/runs", "GET, POST"),
        ("OPTIONS", "/api/keys", "GET, POST"),
        ("GET", "/api/stories/tales/a.txt", "DELETE"),
        ("POST", "/api/health", "GET"),
    ],
)
def test_an_unsupported_method_gets_the_supported_ones(
    api: TestClient, method: str, path: str, allowed: str
) -> None:
    answer = api.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"]["type"] == "method_not_allowed"


def test_a_slash_too_many_leads_nowhere(api: TestClient) -> None:
    answer = api.get("/api/runs/", follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [b'{"name": "\xff.txt", "size": 1}', b'{"name": "a", "size": ' + b"9" * 5000 + b"}", b"[" * 50_000, b"{"],
    ids=["no UTF-8", "a number without end", "too deep", "cut off"],
)
def test_a_body_that_cannot_be_read_is_malformed(api: TestClient, body: bytes) -> None:
    answer = api.post("/api/stories", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_request")


@pytest.mark.parametrize("size", [True, "1", 1.5, None])
def test_a_size_is_a_number(api: TestClient, size: Any) -> None:
    answer = api.post("/api/stories", json={"name": "a.txt", "size": size})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith("size")
    whole = api.post("/api/stories", json={"name": "a.txt", "size": 7.0})
    assert whole.status_code == 200, "JSON has one kind of number"


def test_the_status_before_the_first_run(api: TestClient) -> None:
    status = api.get("/api/status").json()
    assert status["hosting"]["status"] == "asleep"
    assert status["live"] is None
    assert status["run"] is None
    assert status["base_model"] == {"name": "smollm2-135m", "id": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def test_the_status_of_a_live_model(api: TestClient, live_v1: str) -> None:
    hosting_state.mark_awake("v1", "config")
    status = api.get("/api/status").json()
    assert status["hosting"]["status"] == "awake"
    assert status["live"]["version"] == "v1"
    assert status["live"]["tuned_perplexity"] == 24.0
    assert api.post("/api/wake").status_code == 202


def test_a_model_is_put_to_sleep_by_hand(
    api: TestClient, live_v1: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(model_access, "invoke_endpoint_manager", asked.append)
    hosting_state.mark_awake("v1", "config")
    answer = api.post("/api/sleep")
    assert answer.status_code == 202
    assert answer.json()["status"] == "asleep"
    assert "put the model to sleep" in answer.json()["message"]
    assert asked == ["sleep"]


def _execute(resources: DeployedResources, definition: dict[str, Any]) -> str:
    machine = clients.stepfunctions().create_state_machine(
        name=f"{resources.table}-walk",
        definition=json.dumps(definition),
        roleArn="arn:aws:iam::123456789012:role/machine",
    )
    arn = clients.stepfunctions().start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    for _ in range(100):
        if clients.stepfunctions().describe_execution(executionArn=arn)["status"] != "RUNNING":
            break
        if definition["StartAt"] == "Long":
            break
        time.sleep(0.1)
    return arn


def _log(job: str, *lines: str) -> None:
    """What a training job has said."""
    logs, group = clients.logs(), "/aws/sagemaker/TrainingJobs"
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    stream = f"{job}/algo-1-1"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": now + n, "message": line} for n, line in enumerate(lines)],
    )


def test_a_run_shows_its_states_report_and_losses(api: TestClient, resources: DeployedResources) -> None:
    loop = [{"Variable": "$.again", "BooleanEquals": True, "Next": "Once"}]
    definition: dict[str, Any] = {
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Result": True, "ResultPath": "$.again", "Next": "Look"},
            "Look": {"Type": "Wait", "Seconds": 1, "Next": "Again"},
            "Again": {"Type": "Choice", "Choices": loop, "Default": "Broken"},
            "Once": {"Type": "Pass", "Result": False, "ResultPath": "$.again", "Next": "Look"},
            "Broken": {"Type": "Fail", "Error": "Oh", "Cause": "No."},
        },
    }
    arn = _execute(resources, definition)
    run_records.enter(RUN, "Train", execution_arn=arn, training_job=f"{resources.table}-train")
    report = {"run_id": RUN, "stories": 24}
    clients.s3().put_object(
        Bucket=resources.artifacts, Key=s3_keys.report(RUN), Body=json.dumps(report).encode()
    )
    _log(
        f"{resources.table}-train",
        "loading the model",
        "metric train_loss=3.25 step=10",
        "progress step=10 of=120 seconds=33",
        "metric validation_loss=3.5e0 step=20",
        "metric train_loss=2.75 step=20",
        "metric tokens_per_second=511.5 step=20",
        "metric cost_usd=0.0193 step=20",
        "progress step=20 of=120 seconds=61.5 left=307",
    )
    run = api.get(f"/api/runs/{RUN}").json()
    assert [state["name"] for state in run["states"]] == ["Begin", "Look", "Again", "Once", "Broken"]
    assert [state["status"] for state in run["states"]] == ["succeeded"] * 4 + ["failed"]
    assert 1.9 < run["states"][1]["seconds"] < 4, "a state that loops counts from first to last"
    assert run["report"] == report
    page = b"<!doctype html><title>The report</title>"
    clients.s3().put_object(
        Bucket=resources.artifacts, Key=s3_keys.report_page(RUN), Body=page, ContentType="text/html"
    )
    opened = httpx.get(run["report_url"], trust_env=False)
    assert (opened.status_code, opened.content) == (200, page)
    assert opened.headers["content-type"] == "text/html"
    assert "X-Amz-Expires=3600" in run["report_url"]
    assert run["metrics"] == [
        {"step": 10, "train_loss": 3.25, "validation_loss": None},
        {"step": 20, "train_loss": 2.75, "validation_loss": 3.5},
    ]
    assert run["progress"] == {
        "step": 20,
        "of": 120,
        "seconds": 61.5,
        "seconds_left": 307.0,
        "tokens_per_second": 511.5,
        "cost_usd": 0.0193,
    }


def _told_of_trial(name: str, status: str, **more: Any) -> dict[str, Any]:
    """As ListTrainingJobsForHyperParameterTuningJob tells of it."""
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:{name}",
        "CreationTime": 1_790_000_000,
        "TrainingJobStatus": status,
        "TunedHyperParameters": {"lora_rank": "16", "learning_rate": "0.00042", "epochs": "3.0"},
        **more,
    }


def test_a_run_shows_the_trials_of_its_search(
    api: TestClient, resources: DeployedResources, sagemaker: StandIn
) -> None:
    arn = _execute(resources, {"StartAt": "Tune", "States": {"Tune": {"Type": "Pass", "End": True}}})
    run_records.enter(RUN, "Assemble", execution_arn=arn)
    assert api.get(f"/api/runs/{RUN}").json()["search"] is None, "SageMaker does not know of it yet"
    done = {"TrainingStartTime": 1_790_000_100, "TrainingEndTime": 1_790_000_400.5}
    loss = {"MetricName": "validation:loss", "Value": 2.5}
    sagemaker.search = {
        "HyperParameterTuningJobName": environment.common().names.tuning_job(RUN),
        "HyperParameterTuningJobArn": "arn:search",
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": 1_790_000_000,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"usd_per_hour": "1.2"},
            "ResourceConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100},
        },
        "BestTrainingJob": _told_of_trial("one", "Completed"),
        "trials": [
            _told_of_trial("one", "Completed", **done, FinalHyperParameterTuningJobObjectiveMetric=loss),
            _told_of_trial("two", "Stopped", **done),
            _told_of_trial("three", "Failed"),
            _told_of_trial(f"{resources.table}-four", "InProgress"),
        ],
    }
    _log(
        f"{resources.table}-four",
        "metric validation_loss=3.5 step=0",
        "metric validation_loss=3.25 step=10",
        "metric train_loss=3 step=11",
        "progress step=11 of=40 seconds=20",
    )
    search = api.get(f"/api/runs/{RUN}").json()["search"]
    assert search["of"] == 6
    assert search["cost_usd"] == pytest.approx(2 * 300.5 * 2 * 1.2 / 3600, abs=1e-4)
    assert [trial["status"] for trial in search["trials"]] == ["succeeded", "stopped", "failed", "running"]
    assert [trial["best"] for trial in search["trials"]] == [True, False, False, False]
    first, second, _, last = search["trials"]
    assert (first["lora_rank"], first["learning_rate"], first["epochs"]) == (16, 0.00042, 3)
    assert (first["seconds"], first["validation_loss"]) == (300.5, 2.5)
    assert second["validation_loss"] is None, "it was stopped before it measured one"
    assert (last["validation_loss"], last["seconds"]) == (3.25, 0)
    assert (last["progress"]["step"], last["progress"]["of"]) == (11, 40)


def test_the_evaluation_is_read_as_a_page(api: TestClient, resources: DeployedResources) -> None:
    run_records.create_run(RUN, "", "test")
    page, key = b"<!doctype html><title>How the new model did</title>", s3_keys.evaluation_page(RUN)
    clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=page)
    assert api.get(f"/api/runs/{RUN}").json()["evaluation_url"] is None, "before the gate has read it"
    run_records.enter(RUN, "Gate", base_perplexity=27.4, tuned_perplexity=18.2)
    opened = httpx.get(api.get(f"/api/runs/{RUN}").json()["evaluation_url"], trust_env=False)
    assert (opened.status_code, opened.content) == (200, page)
    assert opened.headers["content-type"] == "text/html", "though the job gave it no type"
    clients.s3().delete_object(Bucket=resources.artifacts, Key=key)
    assert api.get(f"/api/runs/{RUN}").json()["evaluation_url"] is None


def test_on_one_machine_the_report_is_reached_through_the_front_door(
    api: TestClient, resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_records.create_run(RUN, "", "test")
    assert api.get(f"/api/runs/{RUN}").json()["report_url"] is None
    clients.s3().put_object(Bucket=resources.artifacts, Key=s3_keys.report(RUN), Body=b"{}")
    monkeypatch.setenv("STORYLOOM_BROWSER_ENDPOINT", "http://localhost:8400")
    link = api.get(f"/api/runs/{RUN}").json()["report_url"]
    assert link.startswith(f"http://localhost:8400/aws/s3/{resources.artifacts}/runs/{RUN}/report.html?")
    assert "X-Amz-Signature=" in link


def test_a_running_state_is_the_runs_step(api: TestClient, resources: DeployedResources) -> None:
    definition = {"StartAt": "Long", "States": {"Long": {"Type": "Wait", "Seconds": 600, "End": True}}}
    arn = _execute(resources, definition)
    run_records.enter(RUN, "StageBaseModel", execution_arn=arn)
    for _ in range(50):
        run = api.get("/api/status").json()["run"]
        if run["step"] == "Long":
            break
        time.sleep(0.1)
    assert run["step"] == "Long"
    detail = api.get(f"/api/runs/{RUN}").json()
    assert detail["step"] == "Long"
    assert detail["states"][-1]["status"] == "running"
    assert detail["metrics"] is None


def test_runs_are_listed_newest_first(api: TestClient) -> None:
    for number in range(3):
        run_records.enter(f"2026090{number}-090000-aaaa", "Begin")
    listed = [run["run_id"] for run in api.get("/api/runs").json()["runs"]]
    assert listed == ["20260902-090000-aaaa", "20260901-090000-aaaa", "20260900-090000-aaaa"]
    answer = api.get("/api/runs/20250101-000000-0000")
    assert answer.status_code == 404
    assert answer.json()["error"]["cure"] == "GET /api/runs lists the runs."


def test_a_story_is_uploaded_with_the_form_and_listed(
    api: TestClient, resources: DeployedResources, cloud_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post("/api/stories", json={"name": "tales/The Hill.txt", "size": 11}).json()
    assert form["fields"]["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert form["key"] == "tales/The Hill.txt"
    assert form["url"].rstrip("/") == f"{cloud_url}/{resources.stories}", (
        "an address has no room for a bucket's name"
    )
    uploaded = httpx.post(form["url"], data=form["fields"], files={"file": b"Once upon a"}, trust_env=False)
    assert uploaded.status_code in {200, 204}, uploaded.text
    (story,) = api.get("/api/stories").json()["stories"]
    assert (story["key"], story["size"]) == ("tales/The Hill.txt", 11)
    monkeypatch.setenv("STORYLOOM_BROWSER_ENDPOINT", "http://localhost:8400/")
    local = api.post("/api/stories", json={"name": "a.txt", "size": 1}).json()
    assert local["url"] == f"http://localhost:8400/aws/s3/{resources.stories}"


def _versions(resources: DeployedResources, key: str) -> list[str]:
    listed = clients.s3().list_object_versions(Bucket=resources.stories, Prefix=key)
    return [version["VersionId"] for version in listed.get("Versions", [])]


@pytest.mark.parametrize("key", ["a.txt", "tales/The Hill, it's 100%? #1.txt", "böse/ü+1&.txt"])
def test_a_deleted_story_can_be_restored(api: TestClient, resources: DeployedResources, key: str) -> None:
    for name in (key, f"{key}.bak"):
        clients.s3().put_object(Bucket=resources.stories, Key=name, Body=b"Once")
    before = _versions(resources, key)
    answer = api.delete(f"/api/stories/{quote(key)}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["key"] == key
    assert [story["key"] for story in api.get("/api/stories").json()["stories"]] == [f"{key}.bak"]
    assert _versions(resources, key) == before, "nothing that was dropped is lost"
    # what the message says, done
    command = shlex.split(answer.json()["message"].partition("remove the marker: ")[2])
    assert command[:3] == ["aws", "s3api", "delete-object"]
    said = dict(zip(command[3::2], command[4::2], strict=True))
    clients.s3().delete_object(Bucket=said["--bucket"], Key=said["--key"], VersionId=said["--version-id"])
    assert clients.s3().get_object(Bucket=resources.stories, Key=key)["Body"].read() == b"Once"


@pytest.mark.parametrize("key", ["none.txt", "tale", "", "tales/"])
def test_a_missing_story_cannot_be_deleted(api: TestClient, resources: DeployedResources, key: str) -> None:
    clients.s3().put_object(Bucket=resources.stories, Key="tales/a.txt", Body=b"Once")
    answer = api.delete(f"/api/stories/{key}")
    assert answer.status_code == 404
    assert answer.json()["error"]["cure"] == "GET /api/stories lists the stories."
    assert "DeleteMarkers" not in clients.s3().list_object_versions(Bucket=resources.stories)


def test_a_story_deleted_twice_is_not_found(api: TestClient, resources: DeployedResources) -> None:
    clients.s3().put_object(Bucket=resources.stories, Key="a.txt", Body=b"Once")
    assert [api.delete("/api/stories/a.txt").status_code for _ in range(2)] == [200, 404]


def test_a_file_over_the_limit_is_refused(api: TestClient) -> None:
    answer = api.post("/api/stories", json={"name": "epic.txt", "size": 50 * 2**20 + 1})
    assert answer.status_code == 413
    assert "storyloom upload" in answer.json()["error"]["cure"]


@pytest.mark.parametrize("name", ["../x.txt", "/", "..", "a/", "bad\x00name.txt", "a/../../x"])
def test_a_name_that_leads_elsewhere_is_refused(api: TestClient, name: str) -> None:
    answer = api.post("/api/stories", json={"name": name, "size": 1})
    assert answer.status_code == 422


def test_an_unforeseen_error_is_json_too(
    resources: DeployedResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORYLOOM_TABLE", "no-such-table")
    with TestClient(app, headers=CONTEXT, raise_server_exceptions=False) as client:
        answer = client.get("/api/runs")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "internal_error"
    assert "no-such-table" not in answer.text
