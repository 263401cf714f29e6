"""A batch answers what its last check read: not what an earlier check left, nor what was uploaded later.

And its results can be read, whatever a job wrote into them: they are paid for.
"""

import json
from typing import Any

import httpx
import openai.types
import openai.types.chat
import orjson
import pytest
from fastapi.testclient import TestClient

from chat_api.openai import strict_json
from chat_api.services import batch_files
from contracts import environment, s3_keys
from shared import table
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.spending import ledger
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn
from tests.unit.functions.test_transforms import SENT, _job, _made, _started, _Worker, api, worker

__all__ = ["api", "worker"]  # fixtures


def _send_again(batch_id: str, content: bytes) -> None:
    bucket = environment.common().artifacts_bucket
    clients.s3().put_object(Bucket=bucket, Key=s3_keys.prompts(batch_id), Body=content)


def _check(api: TestClient, batch_id: str) -> dict[str, Any]:
    checked = api.post(f"/api/batches/{batch_id}/check")
    assert checked.status_code == 200, checked.text
    return dict(checked.json())


def _read_by_the_job(sagemaker: StandIn) -> list[dict[str, Any]]:
    """Read every object below the job's prefix, as SageMaker does (`S3DataType` is `S3Prefix`)."""
    source = _job(sagemaker)["TransformInput"]["DataSource"]["S3DataSource"]
    assert source["S3DataType"] == "S3Prefix"
    bucket, prefix = s3_keys.split(source["S3Uri"])
    found = clients.s3().list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    bodies = [clients.s3().get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in found]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_a_shorter_file_has_its_own_lines_answered_and_no_others(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    batch_id = _made(api)
    assert _check(api, batch_id)["lines"] == 40
    _send_again(batch_id, b"one prompt\n")
    assert _check(api, batch_id)["lines"] == 1
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 202
    worker.work()
    assert [line["messages"][0]["content"] for line in _read_by_the_job(sagemaker)] == ["one prompt"]


def test_the_record_names_the_check_whose_lines_are_answered(
    api: TestClient, worker: _Worker, sagemaker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = _made(api)
    write = batch_files.write_requests

    def write_and_be_overtaken(*arguments: Any) -> Any:
        written = write(*arguments)
        monkeypatch.setattr(batch_files, "write_requests", write)
        _send_again(batch_id, b"later\nlater still\n")
        _check(api, batch_id)
        return written

    monkeypatch.setattr(batch_files, "write_requests", write_and_be_overtaken)
    _check(api, batch_id)
    refused = api.post(f"/api/batches/{batch_id}/start")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "file_changed")
    assert _check(api, batch_id)["lines"] == 2
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 202
    worker.work()
    assert len(_read_by_the_job(sagemaker)) == 2


def test_a_file_that_is_sent_after_its_check_is_not_started(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    batch_id = _made(api)
    _check(api, batch_id)
    _send_again(batch_id, b"another prompt\n")
    refused = api.post(f"/api/batches/{batch_id}/start")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "file_changed")
    assert not worker.calls
    assert batch_records.list_active_ids() == []


def test_a_check_between_the_price_and_the_start_is_not_started(
    api: TestClient, worker: _Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person agreed to pay for is what starts."""
    batch_id = _made(api)
    _check(api, batch_id)
    acquire_slot = batch_records.acquire_batch_slot

    def acquire_slot_late(taken: str) -> bool:
        _check(api, batch_id)
        return acquire_slot(taken)

    monkeypatch.setattr(batch_records, "acquire_batch_slot", acquire_slot_late)
    refused = api.post(f"/api/batches/{batch_id}/start")
    assert (refused.status_code, refused.json()["error"]["type"]) == (409, "file_changed")
    assert not worker.calls
    assert batch_records.list_active_ids() == []


def test_what_an_earlier_start_left_reserved_is_not_what_this_one_costs(
    api: TestClient, worker: _Worker, sagemaker: StandIn
) -> None:
    batch_id = _made(api)
    most = _check(api, batch_id)["cost_at_most_usd"]
    ledger.reserve("batch", batch_id, "ml.g6.xlarge", 0.01)
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 202
    assert ledger.totals().reserved_usd == pytest.approx(most, abs=0.001)
    assert api.post(f"/api/batches/{batch_id}/stop").status_code == 202
    assert ledger.open_reservations() == [], "no job is made for it any more"


def test_a_start_that_is_refused_leaves_nothing_reserved(
    api: TestClient, worker: _Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = _made(api)
    _check(api, batch_id)
    monkeypatch.setattr(batch_records, "move", lambda *_, **__: False)
    assert api.post(f"/api/batches/{batch_id}/start").status_code == 409
    assert ledger.open_reservations() == []


ANSWER = {
    "id": "cmpl-1",
    "choices": [{"text": "Once"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
WRITTEN: dict[str, str] = {
    "NaN": json.dumps({**ANSWER, "score": float("nan")}),
    "infinity": '{"id": "x", "choices": [{"text": "Once"}], "score": 1e999}',
    "half of a character": r'{"id": "x", "choices": [{"text": "\ud800 upon"}]}',
    "counts that are none": '{"id": "x", "choices": [], "usage": {"prompt_tokens": "many"}}',
    "a usage that is none": '{"id": "x", "choices": [], "usage": 5}',
    "choices that are none": '{"choices": "none"}',
    "a list": "[1, 2]",
    "a number": "5",
    "null": "null",
    "no JSON": "Traceback (most recent call last):",
    "lists without end": "[" * 20_000,
    "bytes that are no text": "\udcff\udcfe",
}


@pytest.mark.parametrize("line", WRITTEN.values(), ids=WRITTEN.keys())
def test_whatever_a_job_writes_the_results_can_be_read(
    api: TestClient, worker: _Worker, resources: DeployedResources, sagemaker: StandIn, line: str
) -> None:
    batch_id = _started(api, worker)
    lines = [json.dumps(ANSWER)] * 31 + [line]
    _write_answers(batch_id, "00000.jsonl.out", "\n".join(lines).encode(errors="surrogateescape") + b"\n")
    _write_answers(batch_id, "00077.jsonl.out", b"{}\n")
    _job(sagemaker)["TransformJobStatus"] = "Stopped"
    found = api.get(f"/api/batches/{batch_id}/results")
    assert found.status_code == 200, found.text
    assert found.json()["answered"] in {31, 32}
    content = httpx.get(found.json()["url"], trust_env=False).content
    # Two parsers that are not Python's own, and both strict.
    parsed = [orjson.loads(part) for part in content.splitlines()]
    assert [part["custom_id"] for part in parsed] == [f"c{number}" for number in range(40)]
    assert all((part["response"] is None) != (part["error"] is None) for part in parsed)
    assert api.get(f"/api/batches/{batch_id}").json()["answered"] == 32


def _write_answers(batch_id: str, name: str, body: bytes) -> None:
    batch = batch_records.get(batch_id)
    assert batch is not None
    key = s3_keys.answers(batch_id, batch.check_id) + name
    clients.s3().put_object(Bucket=environment.common().artifacts_bucket, Key=key, Body=body)


def test_the_results_are_those_of_openais_client(
    api: TestClient, worker: _Worker, resources: DeployedResources, sagemaker: StandIn
) -> None:
    chat = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "v1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Ünd 🐦"}}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    batch_id = _started(api, worker, b"a question\nanother\n")
    _write_answers(batch_id, "00000.jsonl.out", f"{json.dumps(chat)}\n{json.dumps(chat)}\n".encode())
    _job(sagemaker)["TransformJobStatus"] = "Completed"
    url = api.get(f"/api/batches/{batch_id}/results").json()["url"]
    for line in httpx.get(url, trust_env=False).content.splitlines():
        result = orjson.loads(line)
        assert set(result) == {"id", "custom_id", "response", "error"}
        assert set(result["response"]) == {"status_code", "request_id", "body"}
        answer = openai.types.chat.ChatCompletion.model_validate(result["response"]["body"], strict=True)
        assert answer.choices[0].message.content == "Ünd 🐦"


def test_a_batch_that_an_older_version_checked_still_has_its_results(
    api: TestClient, worker: _Worker, resources: DeployedResources, sagemaker: StandIn
) -> None:
    """Its lines lie without the id of a check, and a custom_id may be half of a character."""
    batch_id = _started(api, worker)
    table.update("BATCHES", batch_id, {"check_id": None})
    ids = json.dumps(["\ud800", *(f"c{number}" for number in range(1, 40))]).encode()
    prefix = s3_keys.transform(batch_id)
    for key, body in (
        ("custom_ids.json", ids),
        ("answers/00000.jsonl.out", f"{json.dumps(ANSWER)}\n".encode() * 32),
    ):
        clients.s3().put_object(Bucket=resources.artifacts, Key=prefix + key, Body=body)
    _job(sagemaker)["TransformJobStatus"] = "Stopped"
    found = api.get(f"/api/batches/{batch_id}/results").json()
    assert (found["answered"], found["failed"]) == (32, 8)
    content = httpx.get(found["url"], trust_env=False).content
    assert [orjson.loads(line)["custom_id"] for line in content.splitlines()][:2] == ["\ufffd", "c1"]


def test_lines_are_written_for_every_reader() -> None:
    assert strict_json.dumps({"a": "\ud83d\ude00 \ud800 é"}) == '{"a": "😀 \ufffd é"}'.encode()
    assert SENT.count(b"\n") == 39
