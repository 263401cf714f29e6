"""Batches: from a file of prompts to a transform job and its answers."""

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import costs
from contracts import environment, s3_keys
from contracts.resource_names import AppNames
from endpoint_manager.handler import handler as endpoint_manager
from shared import clock, table
from shared.aws import clients
from shared.batch_inference import batch_records, transform_jobs
from shared.spending import ledger
from start_batch import archive
from start_batch.handler import handler as start_batch
from tests.unit.functions.conftest import DeployedResources, caller_headers
from tests.unit.functions.sagemaker_stand_in import StandIn

TICK = {"action": "tick"}
SENT = b"\n".join(b'{"prompt": "Once, %d", "custom_id": "c%d"}' % (n, n) for n in range(40))


class _Worker:
    """Lambda with start_batch alone, which runs when the test says so."""

    def __init__(self, context: LambdaContext) -> None:
        self.calls: list[dict[str, Any]] = []
        self._context = context

    # boto3 names its arguments so
    def invoke(self, FunctionName: str, Payload: bytes, InvocationType: str) -> dict[str, Any]:  # noqa: N803
        assert (FunctionName, InvocationType) == ("start_batch", "Event")
        self.calls.append(json.loads(Payload))
        return {}

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}

    def work(self) -> None:
        for call in self.calls:
            start_batch(call, self._context)


@pytest.fixture
def worker(resources: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> _Worker:
    worker = _Worker(context)
    monkeypatch.setattr(clients, "lambdas", lambda: worker)
    return worker


@pytest.fixture
def api(resources: DeployedResources, worker: _Worker, live_v1: str) -> Iterator[TestClient]:
    """The API, with v1 live and its bundle in the bucket."""
    for name, size in (
        ("serving.yaml", 20),
        ("base/model.safetensors", 3_000_000),
        ("adapters/v1/a.json", 0),
    ):
        clients.s3().put_object(
            Bucket=resources.artifacts, Key=s3_keys.hosting("v1") + name, Body=b"w" * size
        )
    with TestClient(app, headers=caller_headers()) as client:
        yield client


def _made(api: TestClient, content: bytes = SENT, **more: Any) -> str:
    made = api.post("/api/batches", json={"name": "my prompts.jsonl", "size": len(content), **more})
    assert made.status_code == 201, made.text
    form = made.json()["upload"]
    # the bucket's own name leads nowhere here
    bucket = f"{os.environ['AWS_ENDPOINT_URL']}/{environment.common().artifacts_bucket}"
    sent = httpx.post(bucket, data=form["fields"], files={"file": content}, trust_env=False)
    assert sent.is_success, sent.text
    return str(made.json()["batch"]["batch_id"])


def _started(api: TestClient, worker: _Worker, content: bytes = SENT) -> str:
    batch_id = _made(api, content)
    assert api.post(f"/api/batches/{batch_id}/check").status_code == 200
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 202
    worker.work()
    return batch_id


def _check_id(batch_id: str) -> str:
    batch = batch_records.get(batch_id)
    assert batch is not None
    return batch.check_id


def _job(sagemaker: StandIn) -> dict[str, Any]:
    (job,) = sagemaker.jobs.values()
    return job


def _answer(resources: DeployedResources, batch_id: str, number: int, texts: list[str]) -> None:
    answers = [
        {"id": "cmpl-1", "choices": [{"text": text}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
        for text in texts
    ]
    clients.s3().put_object(
        Bucket=resources.artifacts,
        Key=f"{s3_keys.answers(batch_id, _check_id(batch_id))}{number:05}.jsonl.out",
        Body="".join(f"{json.dumps(answer)}\n" for answer in answers).encode(),
    )


def test_a_batch_from_its_file_to_its_answers(
    api: TestClient, worker: _Worker, resources: DeployedResources, sagemaker: StandIn
) -> None:
    batch_id = _made(api, max_tokens=200)
    checked = api.post(f"/api/batches/{batch_id}/check").json()
    assert (checked["status"], checked["lines"], checked["version"]) == ("checked", 40, "v1")
    assert checked["minutes_estimate"] == pytest.approx(12 + 40 * 200 / 800 / 60, abs=0.1)
    assert checked["cost_estimate_usd"] == pytest.approx(1.13 * checked["minutes_estimate"] / 60, abs=0.01)
    assert checked["cost_at_most_usd"] > checked["cost_estimate_usd"]
    assert sagemaker.calls == [], "nothing is made before the start"
    assert api.get(f"/api/batches/{batch_id}/results").status_code == 409
    assert api.post(f"/api/batches/{batch_id}/start").json()["status"] == "preparing"
    assert api.post(f"/api/batches/{batch_id}/start").json()["status"] == "preparing", "again changes nothing"
    assert len(worker.calls) == 1
    worker.work()
    job = _job(sagemaker)
    assert (job["BatchStrategy"], job["TransformInput"]["SplitType"]) == ("SingleRecord", "Line")
    assert job["TransformOutput"]["AssembleWith"] == "Line"
    assert job["MaxConcurrentTransforms"] * job["MaxPayloadInMB"] <= 100
    assert job["TransformResources"]["TransformAmiVersion"] == "al2-ami-sagemaker-batch-gpu-535"
    (model,) = sagemaker.models.values()
    assert "ModelDataSource" not in model["PrimaryContainer"], "transform jobs refuse it"
    assert model["EnableNetworkIsolation"] is True
    job |= {"TransformStartTime": time.time() - 60}
    _answer(resources, batch_id, 0, [f"answer {n}" for n in range(32)])
    shown = api.get(f"/api/batches/{batch_id}").json()
    assert (shown["status"], shown["answered"]) == ("running", 32)
    _answer(resources, batch_id, 1, [f"answer {n}" for n in range(32, 40)])
    job |= {"TransformJobStatus": "Completed", "TransformEndTime": time.time()}
    results = api.get(f"/api/batches/{batch_id}/results").json()
    url = results.pop("url")
    assert results == {"answered": 40, "failed": 0, "prompt_tokens": 120, "completion_tokens": 80}
    lines = [json.loads(line) for line in httpx.get(url, trust_env=False).text.splitlines()]
    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(40)]
    for number, line in enumerate(lines):
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert (line["response"]["status_code"], line["error"]) == (200, None)
        assert line["response"]["body"]["choices"][0]["text"] == f"answer {number}"
    shown = api.get(f"/api/batches/{batch_id}").json()
    assert (shown["status"], shown["answered"]) == ("completed", 40)
    assert shown["cost_usd"] == pytest.approx(1.13 / 60, abs=0.005)
    assert batch_records.list_active_ids() == []


def test_the_requests_are_what_the_model_takes(
    api: TestClient, resources: DeployedResources, worker: _Worker
) -> None:
    batch_id = _started(api, worker, b'A question\n\n{"prompt": "Once", "model": "base"}\n')
    body = (
        clients.s3()
        .get_object(Bucket=resources.artifacts, Key=s3_keys.request_part(batch_id, _check_id(batch_id), 0))[
            "Body"
        ]
        .read()
    )
    assert [json.loads(line) for line in body.splitlines()] == [
        {"messages": [{"role": "user", "content": "A question"}], "max_tokens": 400, "model": "v1"},
        {"prompt": "Once", "model": "base", "max_tokens": 400},
    ]


def test_a_bad_line_is_refused_before_anything_is_made(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    batch_id = _made(api, b'good\n{"prompt": \n')
    refused = api.post(f"/api/batches/{batch_id}/check")
    assert (refused.status_code, refused.json()["error"]["line"]) == (422, 2)
    early = api.post(f"/api/batches/{batch_id}/start")
    assert (early.status_code, early.json()["error"]["type"]) == (409, "not_checked")
    assert not worker.calls
    assert not sagemaker.calls


def test_a_request_over_a_limit_is_refused(api: TestClient) -> None:
    large = api.post("/api/batches", json={"size": 21 * 2**20})
    assert (large.status_code, large.json()["error"]["type"]) == (413, "file_too_large")
    slow = _made(api, b"\n".join([b"a prompt"] * 10_000), max_tokens=3500)
    refused = api.post(f"/api/batches/{slow}/check")
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "batch_too_long")
    wrong = api.post("/api/batches", json={"size": 5, "model": "gpt-4"})
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (404, "model_not_found")
    assert api.post("/api/batches", json={"size": 5, "instance": "ml.p5.48xlarge"}).status_code == 422


def test_a_check_needs_the_file(api: TestClient) -> None:
    made = api.post("/api/batches", json={"size": 5}).json()["batch"]["batch_id"]
    refused = api.post(f"/api/batches/{made}/check")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "not_uploaded")


def test_there_is_no_batch_before_there_is_a_model(resources: DeployedResources, worker: _Worker) -> None:
    with TestClient(app, headers=caller_headers()) as client:
        refused = client.post("/api/batches", json={"size": 5})
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "no_model_yet")


def test_nobody_sees_another_persons_batch(api: TestClient, worker: _Worker) -> None:
    batch_id = _started(api, worker)
    other = caller_headers("u2")
    assert api.get("/api/batches", headers=other).json() == {"batches": []}
    for method, path in (
        ("GET", ""),
        ("POST", "/check"),
        ("POST", "/start"),
        ("POST", "/stop"),
        ("GET", "/results"),
    ):
        answer = api.request(method, f"/api/batches/{batch_id}{path}", headers=other)
        assert answer.status_code == 404, path
    assert [one["batch_id"] for one in api.get("/api/batches").json()["batches"]] == [batch_id]


def test_concurrent_batches_are_limited(api: TestClient, worker: _Worker, sagemaker: StandIn) -> None:
    first, second = _started(api, worker), _started(api, worker)
    third = _made(api)
    api.post(f"/api/batches/{third}/check")
    refused = api.post(f"/api/batches/{third}/start")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "too_many_batches")
    assert "Retry-After" in refused.headers
    sagemaker.jobs[AppNames("storyloom").transform_job(first)]["TransformJobStatus"] = "Completed"
    assert api.get(f"/api/batches/{first}").json()["status"] == "completed"
    assert api.post(f"/api/batches/{third}/start").status_code == 202
    assert batch_records.list_active_ids() == sorted([second, third])


def test_a_stopped_batch_keeps_what_it_answered(
    api: TestClient, worker: _Worker, resources: DeployedResources, sagemaker: StandIn
) -> None:
    batch_id = _started(api, worker)
    _answer(resources, batch_id, 0, ["an answer"] * 32)
    stopping = api.post(f"/api/batches/{batch_id}/stop").json()
    assert stopping["status"] == "stopping"
    job = _job(sagemaker)
    assert job["TransformJobStatus"] == "Stopping"
    job |= {"TransformJobStatus": "Stopped", "TransformStartTime": 1.0, "TransformEndTime": 2.0}
    results = api.get(f"/api/batches/{batch_id}/results").json()
    assert (results["answered"], results["failed"]) == (32, 8)
    lines = [json.loads(line) for line in httpx.get(results["url"], trust_env=False).text.splitlines()]
    assert [line["error"]["code"] for line in lines[32:]] == ["not_answered"] * 8
    assert lines[39]["custom_id"] == "c39"
    assert "stopped it" in api.get(f"/api/batches/{batch_id}").json()["message"]


def test_a_batch_that_is_stopped_while_it_is_packed_makes_no_job(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    batch_id = _made(api)
    api.post(f"/api/batches/{batch_id}/check")
    api.post(f"/api/batches/{batch_id}/start")
    assert api.post(f"/api/batches/{batch_id}/stop").json()["status"] == "stopped"
    worker.work()
    assert sagemaker.jobs == {}
    assert batch_records.list_active_ids() == []


def test_a_missing_instance_is_reported_with_its_cure(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    sagemaker.over_quota.add("ml.g6.xlarge")
    batch_id = _started(api, worker)
    failed = api.get(f"/api/batches/{batch_id}").json()
    assert failed["status"] == "failed"
    assert 'raise the quota "ml.g6.xlarge for transform job usage"' in failed["message"]
    assert batch_records.list_active_ids() == []


def test_a_failed_job_says_where_its_log_is(api: TestClient, worker: _Worker, sagemaker: StandIn) -> None:
    batch_id = _started(api, worker)
    job = _job(sagemaker)
    job |= {"TransformJobStatus": "Failed", "FailureReason": "ClientError: See job logs for more information"}
    failed = api.get(f"/api/batches/{batch_id}").json()
    assert failed["status"] == "failed"
    assert "ClientError: See job logs" in failed["message"] and job["TransformJobName"] in failed["message"]


def test_a_worker_that_is_called_twice_makes_one_job(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    _started(api, worker)
    worker.work()
    assert len(sagemaker.jobs) == 1, "the second is refused: the job is there"


def test_the_batches_of_a_version_share_its_model(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    _started(api, worker)
    _started(api, worker)
    assert (len(sagemaker.jobs), len(sagemaker.models)) == (2, 1)


def _age(batch_id: str, **minutes: float) -> None:
    changes = {name: clock.text(clock.now() - timedelta(minutes=ago)) for name, ago in minutes.items()}
    table.update("BATCHES", batch_id, changes)


def test_the_endpoint_manager_stops_a_job_that_overruns(
    api: TestClient, worker: _Worker, sagemaker: StandIn, context: LambdaContext
) -> None:
    batch_id = _started(api, worker)
    longest = float(batch_records.get(batch_id).longest_minutes or 0)  # type: ignore[union-attr]
    job = _job(sagemaker)
    job["TransformStartTime"] = time.time() - longest * 60 + 30
    endpoint_manager(TICK, context)
    assert job["TransformJobStatus"] == "InProgress"
    job["TransformStartTime"] -= 60
    endpoint_manager(TICK, context)
    assert job["TransformJobStatus"] == "Stopping"
    job |= {"TransformJobStatus": "Stopped", "TransformEndTime": time.time()}
    endpoint_manager(TICK, context)
    batch = batch_records.get(batch_id)
    assert batch is not None and batch.status == "stopped"
    assert "the longest that it was allowed" in str(batch.message)


def test_a_job_that_the_table_forgot_is_stopped(
    resources: DeployedResources, sagemaker: StandIn, context: LambdaContext
) -> None:
    of_another_app = ("storyloom-batch-batch-20260901-100000-aaaa", "other-batch-20260901-100000-aaaa")
    old, new = "storyloom-batch-20260901-100000-aaaa", "storyloom-batch-20260902-110000-aaaa"
    for name, age in ((old, 26), (new, 1), *((job, 99) for job in of_another_app)):
        created = time.time() - age * 3600
        sagemaker.jobs[name] = {
            "TransformJobName": name,
            "TransformJobStatus": "InProgress",
            "CreationTime": created,
            "TransformResources": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1},
        }
    endpoint_manager(TICK, context)
    assert {name: job["TransformJobStatus"] for name, job in sagemaker.jobs.items()} == {
        old: "Stopping",
        new: "InProgress",
        **dict.fromkeys(of_another_app, "InProgress"),
    }


def test_the_endpoint_manager_checks_jobs_even_if_the_endpoint_cannot_be_described(
    api: TestClient,
    worker: _Worker,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch_id = _started(api, worker)
    _job(sagemaker)["TransformJobStatus"] = "Completed"
    monkeypatch.setattr(sagemaker, "_DescribeEndpoint", lambda body: 1 / 0)
    monkeypatch.setattr("endpoint_manager.handler.check_endpoint", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        endpoint_manager(TICK, context)
    assert batch_records.get(batch_id).status == "completed"  # type: ignore[union-attr]


def test_a_batch_whose_worker_died_ends(api: TestClient, worker: _Worker, context: LambdaContext) -> None:
    batch_id = _made(api)
    api.post(f"/api/batches/{batch_id}/check")
    api.post(f"/api/batches/{batch_id}/start")
    endpoint_manager(TICK, context)
    assert batch_records.get(batch_id).status == "preparing"  # type: ignore[union-attr]
    _age(batch_id, since=21)
    endpoint_manager(TICK, context)
    batch = batch_records.get(batch_id)
    assert batch is not None and batch.status == "failed" and "Nothing was spent" in str(batch.message)
    assert batch_records.list_active_ids() == []


def test_a_stop_that_sagemaker_did_not_receive_is_repeated(
    api: TestClient, worker: _Worker, sagemaker: StandIn, context: LambdaContext
) -> None:
    batch_id = _started(api, worker)
    batch_records.move(batch_id, "stopping", {"running"}, message="Somebody stopped it.")
    endpoint_manager(TICK, context)
    assert _job(sagemaker)["TransformJobStatus"] == "Stopping"


def test_a_slot_is_released_even_if_its_holder_died(
    resources: DeployedResources, context: LambdaContext
) -> None:
    made = {"name": "p", "model": "base", "max_tokens": 5, "instance": "ml.g6.xlarge"}
    batch = batch_records.create_record(owner="u1", created_by="u1", **made)  # type: ignore[arg-type]
    batch_records.acquire_batch_slot(batch.batch_id)
    batch_records.acquire_batch_slot("20260101-000000-dead")
    batch_records.move(batch.batch_id, "completed", {"uploading"})
    endpoint_manager(TICK, context)
    assert batch_records.list_active_ids() == []


def test_a_batch_is_paid_for_before_it_begins_and_settled_when_it_has_ended(
    resources: DeployedResources, api: TestClient, worker: _Worker, sagemaker: StandIn, context: LambdaContext
) -> None:
    batch_id = _started(api, worker)
    batch = batch_records.get(batch_id)
    assert batch is not None
    assert ledger.totals().reserved_usd == batch.cost_at_most_usd
    ended = time.time()
    _job(sagemaker).update(
        TransformJobStatus="Completed", TransformStartTime=ended - 1800, TransformEndTime=ended
    )
    assert api.get(f"/api/batches/{batch_id}").json()["status"] == "completed"
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 202
    assert ledger.totals().reserved_usd == batch.cost_at_most_usd, "starting it again changes nothing"
    endpoint_manager(TICK, context)
    sums = ledger.totals()
    assert sums.reserved_usd == 0
    assert sums.spent_usd == pytest.approx(1.13 / 2, abs=1e-4)
    assert costs.this_month_cost_usd() == pytest.approx(1.13 / 2, abs=1e-3)


def test_the_archive_has_the_bundle_and_is_made_once(
    resources: DeployedResources, api: TestClient, live_v1: str
) -> None:
    uri = archive.ensure(live_v1)
    bucket, key = s3_keys.split(uri)
    assert (bucket, key.startswith(s3_keys.transform_models("v1"))) == (resources.artifacts, True)

    def packed() -> dict[str, Any]:
        return dict(clients.s3().get_object(Bucket=resources.artifacts, Key=key))

    first = packed()
    with tarfile.open(fileobj=io.BytesIO(first["Body"].read()), mode="r:gz") as tar:
        assert {member.name: member.size for member in tar} == {
            "serving.yaml": 20,
            "base/model.safetensors": 3_000_000,
            "adapters/v1/a.json": 0,
        }
        content = tar.extractfile("base/model.safetensors")
        assert content is not None and content.read() == b"w" * 3_000_000
    assert archive.ensure(live_v1) == uri
    assert packed()["LastModified"] == first["LastModified"]


def test_a_bundle_that_was_rebuilt_is_packed_again(
    resources: DeployedResources, api: TestClient, live_v1: str
) -> None:
    """Activated again, a version has another one beside it, which the archive of before does not have."""
    before = archive.ensure(live_v1)
    clients.s3().put_object(
        Bucket=resources.artifacts, Key=s3_keys.hosting("v1") + "serving.yaml", Body=b"x" * 20
    )
    after = archive.ensure(live_v1)
    assert after != before
    body = clients.s3().get_object(Bucket=resources.artifacts, Key=s3_keys.split(after)[1])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        content = tar.extractfile("serving.yaml")
        assert content is not None and content.read() == b"x" * 20


def test_a_missing_bundle_is_reported(resources: DeployedResources, worker: _Worker, live_v1: str) -> None:
    with TestClient(app, headers=caller_headers()) as client:
        batch_id = _started(client, worker)
        failed = client.get(f"/api/batches/{batch_id}").json()
    assert failed["status"] == "failed"
    assert "Activate the version again" in failed["message"]


def test_a_stop_of_what_has_ended_is_refused(api: TestClient, worker: _Worker, sagemaker: StandIn) -> None:
    batch_id = _started(api, worker)
    _job(sagemaker)["TransformJobStatus"] = "Completed"
    refused = api.post(f"/api/batches/{batch_id}/stop")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "has_ended")
    # a job that is not there is no error
    transform_jobs.stop_job("storyloom-batch-nobody")
