"""Transform jobs: the model's server really runs, answers each record, and is gone with the job."""

import io
import json
import tarfile
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.processes import belonging_to, cloud_id
from tests.local.sagemaker.conftest import BUCKET, Aws, until

pytestmark = pytest.mark.cloud

LOG = "/aws/sagemaker/TransformJobs"


@pytest.fixture(scope="module")
def model(aws: Aws, job_role: str) -> str:
    """Return a model in an archive, as transform jobs want it."""
    return _model(aws, job_role, {"words.txt": b"the words of the model"})


def _model(aws: Aws, role: str, files: dict[str, bytes]) -> str:
    name = f"model-{uuid4().hex[:8]}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    aws.client("s3").put_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz", Body=packed.getvalue())
    aws.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=role,
        PrimaryContainer={"Image": "any", "ModelDataUrl": f"s3://{BUCKET}/{name}/model.tar.gz"},
    )
    return name


def _request(model: str, **changes: Any) -> dict[str, Any]:
    name = f"transform-{uuid4().hex[:8]}"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in/"}
    return {
        "TransformJobName": name,
        "ModelName": model,
        "BatchStrategy": "SingleRecord",
        "MaxConcurrentTransforms": 4,
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/json",
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{name}/out", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1},
        **changes,
    }


def _start(aws: Aws, model: str, files: dict[str, list[dict[str, Any]]], **changes: Any) -> str:
    request = _request(model, **changes)
    name = str(request["TransformJobName"])
    for path, records in files.items():
        body = "".join(f"{json.dumps(record)}\n" for record in records)
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"{name}/in/{path}", Body=body)
    aws.client("sagemaker").create_transform_job(**request)
    return name


def _ended(aws: Aws, name: str) -> dict[str, Any]:
    return until(
        lambda: aws.client("sagemaker").describe_transform_job(TransformJobName=name),
        lambda job: job["TransformJobStatus"] in ("Completed", "Failed", "Stopped"),
        seconds=120,
    )


def _answers(aws: Aws, name: str, path: str) -> list[dict[str, Any]]:
    body = aws.client("s3").get_object(Bucket=BUCKET, Key=f"{name}/out/{path}.out")["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def _servers(aws: Aws, name: str) -> list[Any]:
    found = belonging_to(cloud_id(aws.cloud.state))
    return [process for process in found if any(f"transform/{name}/" in part for part in process.cmdline())]


def test_every_record_is_answered_in_its_place(aws: Aws, model: str) -> None:
    files: dict[str, list[dict[str, Any]]] = {
        "one.jsonl": [{"echo": n, "together": 4} for n in range(8)],
        "below/two.jsonl": [{"echo": "last", "seconds": 0.1}, {"echo": "first"}],
    }
    name = _start(aws, model, files)
    job = _ended(aws, name)
    assert job["TransformJobStatus"] == "Completed", job
    # each of these waits until four are asked at once
    assert _answers(aws, name, "one.jsonl") == [{"echo": n} for n in range(8)]
    assert _answers(aws, name, "below/two.jsonl") == [{"echo": "last"}, {"echo": "first"}]
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert not _servers(aws, name)
    (line,) = [line for line in aws.log(LOG, f"{name}/") if "[sagemaker logs]" in line]
    assert line.endswith("MaxConcurrentTransforms=4, MaxPayloadInMB=6, BatchStrategy=SINGLE_RECORD")
    listed = aws.client("sagemaker").list_transform_jobs(NameContains=name, StatusEquals="Completed")
    assert [one["TransformJobName"] for one in listed["TransformJobSummaries"]] == [name]


def test_a_record_that_fails_loses_its_object_and_no_other(aws: Aws, model: str) -> None:
    files: dict[str, list[dict[str, Any]]] = {
        "bad.jsonl": [{"echo": 1}, {"refuse": True}],
        "good.jsonl": [{"echo": 2}],
    }
    name = _start(aws, model, files)
    job = _ended(aws, name)
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert _answers(aws, name, "good.jsonl") == [{"echo": 2}]
    assert aws.keys(f"{name}/out/") == [f"{name}/out/good.jsonl.out"]
    log = "\n".join(aws.log(LOG, f"{name}/"))
    assert f"{BUCKET}/{name}/in/bad.jsonl: Bad HTTP status received from algorithm: 400" in log
    assert "no such model" in log


def test_a_job_can_be_stopped(aws: Aws, model: str) -> None:
    records = [{"echo": n, "seconds": 60} for n in range(4)]
    name = _start(aws, model, {"a.jsonl": [{"echo": 0}], "b.jsonl": records})
    until(lambda: {"keys": aws.keys(f"{name}/out/")}, lambda seen: bool(seen["keys"]))
    aws.client("sagemaker").stop_transform_job(TransformJobName=name)
    job = _ended(aws, name)
    assert job["TransformJobStatus"] == "Stopped"
    assert (job["TransformEndTime"] - job["TransformStartTime"]).total_seconds() < 60
    assert aws.keys(f"{name}/out/") == [f"{name}/out/a.jsonl.out"]
    assert not _servers(aws, name)
    with pytest.raises(ClientError, match="is in status Stopped"):
        aws.client("sagemaker").stop_transform_job(TransformJobName=name)


def test_a_model_that_cannot_be_loaded_fails_the_job(aws: Aws, job_role: str) -> None:
    name = _start(aws, _model(aws, job_role, {"other.txt": b"-"}), {"a.jsonl": [{"echo": 0}]})
    job = _ended(aws, name)
    assert job["TransformJobStatus"] == "Failed"
    assert "AlgorithmError" in job["FailureReason"] and "this model has no words" in job["FailureReason"]


def test_a_prefix_without_objects_fails_the_job(aws: Aws, model: str) -> None:
    job = _ended(aws, _start(aws, model, {}))
    assert "No S3 objects found" in job["FailureReason"]


def test_a_role_that_may_not_write_fails_the_job(aws: Aws) -> None:
    reading = {"s3:GetObject": f"arn:aws:s3:::{BUCKET}/*", "s3:ListBucket": f"arn:aws:s3:::{BUCKET}"}
    role = aws.role("sagemaker.amazonaws.com", reading)
    name = _start(aws, _model(aws, role, {"words.txt": b"words"}), {"a.jsonl": [{"echo": 0}]})
    job = _ended(aws, name)
    assert job["TransformJobStatus"] == "Failed"
    assert "s3:PutObject" in job["FailureReason"]


def test_a_model_in_a_folder_is_refused(aws: Aws, job_role: str) -> None:
    name = f"model-{uuid4().hex[:8]}"
    source = {"S3Uri": f"s3://{BUCKET}/{name}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    aws.client("sagemaker").create_model(
        ModelName=name,
        ExecutionRoleArn=job_role,
        PrimaryContainer={"Image": "any", "ModelDataSource": {"S3DataSource": source}},
    )
    with pytest.raises(
        ClientError, match="doesn't support Model entity with container definitions which use"
    ):
        aws.client("sagemaker").create_transform_job(**_request(name))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a machine that these jobs cannot have": (
        {"TransformResources": {"InstanceType": "ml.p5.48xlarge", "InstanceCount": 1}},
        "Member must satisfy enum value set",
    ),
    "more at once than fits": ({"MaxConcurrentTransforms": 16, "MaxPayloadInMB": 7}, "must not exceed 100"),
    "two instances": (
        {"TransformResources": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 2}},
        "one instance",
    ),
    "a model that is not there": ({"ModelName": "nobody"}, "Could not find model"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(aws: Aws, model: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        aws.client("sagemaker").create_transform_job(**_request(model, **changes))


def test_a_caller_needs_the_permission(aws: Aws, model: str) -> None:
    nobody = aws.user("sagemaker", {"sagemaker:DescribeTransformJob": "*"})
    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:CreateTransformJob"):
        nobody.create_transform_job(**_request(model))
    with pytest.raises(ClientError, match="Could not find requested job"):
        nobody.describe_transform_job(TransformJobName="nobody")
