"""Read and Assemble over real buckets: every file is accounted for, and SageMaker accepts the jobs."""

import json
from typing import Any

import botocore.session
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.model import ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from assemble import handler as assemble
from begin.handler import latest_versions
from contracts import s3_keys
from read_stories import handler as read_stories
from record_failure import handler as record_failure
from shared import clock
from shared.aws import clients
from shared.runs import run_records
from stories.dataset.time_budget import TimeBudgetExceededError
from stories.file_rules import LARGEST_FILE_BYTES
from storyloom_jobs.hyperparameters import AUTO, Hyperparameters
from tests.unit.functions.conftest import DeployedResources
from tests.unit.stories.material import prose, zipped

RUN = "20260901-120000-abcd"
LIVE = {"version": "v1", "adapter_uri": "s3://bucket/runs/old/training/job/output/model/"}


def _drop(resources: DeployedResources, files: dict[str, bytes]) -> None:
    for key, content in files.items():
        clients.s3().put_object(Bucket=resources.stories, Key=key, Body=content)


def _run(
    resources: DeployedResources, context: LambdaContext, live: dict[str, str] | None = None
) -> dict[str, Any]:
    """Do what the state machine does between Begin and the jobs."""
    items = list(latest_versions(resources.stories))
    run_records.create_run(RUN, "arn:aws:states:::execution", "test")
    for start in range(0, len(items), 20):
        batch = items[start : start + 20]
        counted = read_stories.handler({"run_id": RUN, "files": batch}, context)
        assert counted["records"] + counted["rejects"] >= len(batch)
    begun = {"files": len(items), "batches": {"bucket": resources.artifacts, "key": "k"}, "live": live}
    return assemble.handler({"run_id": RUN, "begun": begun}, context)


def _object(resources: DeployedResources, key: str) -> bytes:
    return clients.s3().get_object(Bucket=resources.artifacts, Key=key)["Body"].read()


def test_too_much_to_compare_ends_the_run_with_one_message(
    settings: DeployedResources,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same words in the log, in the record (which the page shows) and in the message to the owner."""
    _drop(settings, {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(3)})
    monkeypatch.setattr(assemble, "_RESERVE_SECONDS", 600)  # as much as the function has left
    with pytest.raises(TimeBudgetExceededError) as ended:
        _run(settings, context)
    words = str(ended.value)
    assert "Building the dataset takes too long" in words and "storyloom check" in words
    cause = json.dumps({"errorType": "TimeBudgetExceededError", "errorMessage": words})
    failure = {"Error": "TimeBudgetExceededError", "Cause": cause}
    told = record_failure.handler({"run_id": RUN, "failure": failure}, context)
    run = run_records.get(RUN)
    assert run is not None and run.status == "failed"
    assert run.message == told["message"] == f"Assemble failed: {words}"
    assert run.message in [getattr(line, "reason", None) for line in caplog.records]


def test_stories_become_a_dataset_a_report_and_jobs(
    settings: DeployedResources, context: LambdaContext
) -> None:
    files = {f"tales/tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(24)}
    files |= {"more.zip": zipped({"one.md": prose(100).encode(), "two.docx": b"?"})}
    files |= {"photo.jpg": b"\xff\xd8\xff", "notes/empty.txt": b""}
    _drop(settings, files)
    answer = _run(settings, context, LIVE)

    report = json.loads(_object(settings, s3_keys.report(RUN)))
    assert answer["enough"] is True
    assert answer["message"] == report["verdict"]
    assert (answer["stories"], answer["words"]) == (25, 25 * 600) == (report["stories"], report["words"])
    assert (report["files"], report["kept"]) == (27, 25)
    rejected = {(reject["source_key"], reject["entry"]) for reject in report["rejected"]}
    assert rejected == {("photo.jpg", None), ("notes/empty.txt", None), ("more.zip", "two.docx")}
    for part in ("train", "validation", "test"):
        lines = _object(settings, s3_keys.examples(RUN, part)).splitlines()
        assert len(lines) == report["split"][part]["examples"] > 0
        for line in lines:
            assert [turn["role"] for turn in json.loads(line)["messages"]] == ["user", "assistant"]
    record = run_records.get(RUN)
    assert record is not None
    assert (record.step, record.files, record.stories, record.words) == ("Assemble", 27, 25, 15000)
    assert record.message == report["verdict"]


def test_the_jobs_are_what_sagemaker_and_the_container_take(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)})
    jobs = _run(settings, context, LIVE)["jobs"]
    bucket = settings.artifacts
    assert _inputs(jobs) == {
        "code": f"s3://{bucket}/training-code/abc/",
        "model": f"s3://{bucket}/base-models/smollm2-135m/r1/",
        "candidate": f"s3://{bucket}/runs/{RUN}/training/storyloom-train-{RUN}/output/model.tar.gz",
        "test": f"s3://{bucket}/runs/{RUN}/dataset/test/",
        "train": f"s3://{bucket}/runs/{RUN}/dataset/train/",
        "live": LIVE["adapter_uri"],
    }
    assert [channel["ChannelName"] for channel in jobs["training_channels"]] == [
        "train",
        "validation",
        "model",
        "code",
    ]
    assert jobs["training_job_name"] == f"storyloom-train-{RUN}"
    assert jobs["processing_job_name"] == f"storyloom-evaluate-{RUN}"
    # SageMaker's own description of its API says whether it would take them.
    model = botocore.session.get_session().get_service_model("sagemaker")
    training = {
        "TrainingJobName": jobs["training_job_name"],
        "HyperParameters": jobs["hyperparameters"],
        "InputDataConfig": jobs["training_channels"],
        "OutputDataConfig": {"S3OutputPath": jobs["training_output_uri"]},
        "CheckpointConfig": {"S3Uri": jobs["checkpoint_uri"]},
    }
    for name, value in training.items():
        shape = _member(model, "CreateTrainingJobRequest", name)
        assert not ParamValidator().validate(value, shape).has_errors(), name
    shape = _member(model, "CreateProcessingJobRequest", "ProcessingInputs")
    assert not ParamValidator().validate(jobs["processing_inputs"], shape).has_errors()
    # And the container's own settings whether it understands them.
    typed = Hyperparameters.from_strings(jobs["hyperparameters"])
    assert typed.max_seconds == 180
    assert typed.epochs == typed.learning_rate == typed.lora_rank == typed.batch_tokens == AUTO
    assert typed.sequence_length == 512
    assert (typed.usd_per_hour, typed.price_date) == (1.13, clock.day())


@pytest.mark.parametrize("ask", [True, False])
def test_assemble_returns_whether_to_ask_and_the_estimated_cost(
    settings: DeployedResources, context: LambdaContext, monkeypatch: pytest.MonkeyPatch, ask: bool
) -> None:
    monkeypatch.setenv("STORYLOOM_ASK_BEFORE_TRAINING", str(ask).lower())
    _drop(settings, {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)})
    answer = _run(settings, context)
    assert answer["ask_before_training"] is ask
    report = json.loads(_object(settings, s3_keys.report(RUN)))
    assert answer["estimate"] == {
        "training_minutes": report["training_minutes_estimate"],
        "cost_usd": report["cost_estimate_usd"],
        "price_date": report["price_date"],
    }


def test_without_a_live_model_there_is_nothing_to_compare_with(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, {"one.txt": prose(1, 6000).encode()})
    assert "live" not in _inputs(_run(settings, context)["jobs"])


def test_too_little_text_ends_the_run_with_a_reason(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, {"one.txt": prose(1).encode(), "two.txt": b""})
    answer = _run(settings, context)
    assert answer["enough"] is False
    assert "600 words" in answer["message"]
    assert "4,400 more words" in answer["message"]
    assert "1 file could not be used" in answer["message"]


def test_a_retried_batch_does_not_count_twice(settings: DeployedResources, context: LambdaContext) -> None:
    _drop(settings, {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)})
    batch = {"run_id": RUN, "files": list(latest_versions(settings.stories))}
    read_stories.handler(batch, context)
    first = {key: _object(settings, key).splitlines()[:-1] for key in _keys(settings)}
    read_stories.handler(batch, context)
    assert {key: _object(settings, key).splitlines()[:-1] for key in _keys(settings)} == first
    assert len(first) == 1


def test_a_lost_batch_is_noticed(settings: DeployedResources, context: LambdaContext) -> None:
    _drop(settings, {f"tale-of-{chr(97 + number)}.txt": prose(number).encode() for number in range(12)})
    items = list(latest_versions(settings.stories))
    read_stories.handler({"run_id": RUN, "files": items[:5]}, context)
    with pytest.raises(assemble.FilesLostError, match="12 files, but 5"):
        assemble.handler({"run_id": RUN, "begun": {"files": 12, "live": None}}, context)


def test_a_file_deleted_meanwhile_and_one_too_large_are_rejected(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, {"gone.txt": prose(1).encode(), "stays.txt": prose(2).encode()})
    items = list(latest_versions(settings.stories))
    clients.s3().delete_object(Bucket=settings.stories, Key="gone.txt", VersionId=items[0]["version_id"])
    huge = {**items[0], "key": "huge.zip", "version_id": "x", "size": LARGEST_FILE_BYTES + 1}
    answer = read_stories.handler({"run_id": RUN, "files": [*items, huge]}, context)
    assert answer == {"records": 1, "rejects": 2, "from_cache": 0, "finished": True}
    lines = [json.loads(line) for key in _keys(settings) for line in _object(settings, key).splitlines()]
    reasons = {line["source_key"]: line["reason"] for line in lines if line["kind"] == "reject"}
    assert "deleted" in reasons["gone.txt"]
    assert "larger than 200 MB" in reasons["huge.zip"]


def test_the_newer_version_of_a_story_is_the_one_that_counts(
    settings: DeployedResources, context: LambdaContext
) -> None:
    _drop(settings, {"one.txt": prose(1).encode()})
    _drop(settings, {"one.txt": prose(2).encode()})
    read_stories.handler({"run_id": RUN, "files": list(latest_versions(settings.stories))}, context)
    (key,) = _keys(settings)
    line, _ = _object(settings, key).splitlines()
    assert json.loads(line)["text"] == prose(2)
    assert json.loads(line)["modified_at"].endswith("Z")


def _member(model: ServiceModel, request: str, name: str) -> Shape:
    shape = model.shape_for(request)
    assert isinstance(shape, StructureShape)
    return shape.members[name]


def _inputs(jobs: dict[str, Any]) -> dict[str, str]:
    for entry in jobs["processing_inputs"]:
        assert entry["S3Input"]["LocalPath"] == f"/opt/ml/processing/input/{entry['InputName']}"
    return {entry["InputName"]: entry["S3Input"]["S3Uri"] for entry in jobs["processing_inputs"]}


def _keys(resources: DeployedResources) -> list[str]:
    found = clients.s3().list_objects_v2(Bucket=resources.artifacts, Prefix=s3_keys.read_prefix(RUN))
    return [item["Key"] for item in found.get("Contents", [])]
