"""Endpoints: a real server process, streamed unbuffered, changed blue/green."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psutil
import pytest
from botocore.exceptions import ClientError

from local.aws.processes import belonging_to, cloud_id
from tests.local.sagemaker.conftest import BUCKET, Aws, until
from tests.local.sagemaker.echo_server import PIECE_SECONDS

pytestmark = pytest.mark.cloud

WORDS = "the tide comes in and stays for supper"


@pytest.fixture(scope="module")
def endpoint(aws: Aws, job_role: str) -> Iterator[str]:
    """Return an endpoint in service."""
    name = f"endpoint-{uuid4().hex[:8]}"
    config = _config(aws, job_role, WORDS)
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert _settled(aws, name)["EndpointStatus"] == "InService"
    yield name
    aws.client("sagemaker").delete_endpoint(EndpointName=name)


def test_it_answers_at_once(aws: Aws, endpoint: str) -> None:
    answer = aws.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, Body=json.dumps({}), ContentType="application/json"
    )
    assert answer["Body"].read().decode() == WORDS
    assert answer["InvokedProductionVariant"] == "only"


def test_it_streams_each_piece_as_it_comes(aws: Aws, endpoint: str) -> None:
    pieces = []
    started = time.monotonic()
    for event in _stream(aws, endpoint):
        pieces.append((time.monotonic() - started, event["PayloadPart"]["Bytes"].decode()))
    assert "".join(text for _, text in pieces) == "".join(f"data: {word}\n\n" for word in WORDS.split())
    spread = pieces[-1][0] - pieces[0][0]
    assert spread > PIECE_SECONDS * len(WORDS.split()) / 2  # buffered, they would come together


@pytest.mark.aws_fact
def test_a_caller_that_hangs_up_does_not_stop_the_model(aws: Aws, endpoint: str) -> None:
    finished = aws.log(f"/aws/sagemaker/Endpoints/{endpoint}", "only/").count("stream finished")
    body = _stream(aws, endpoint)
    next(iter(body))
    body.close()
    seen = until(
        lambda: {"lines": aws.log(f"/aws/sagemaker/Endpoints/{endpoint}", "only/")},
        lambda look: look["lines"].count("stream finished") > finished,
        seconds=20,
    )
    assert "caller hung up" not in seen["lines"]


def test_what_the_model_refuses_is_a_model_error(aws: Aws, endpoint: str) -> None:
    with pytest.raises(ClientError) as refused:
        aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint, Body=json.dumps({"refuse": True}), ContentType="application/json"
        )
    response: Any = refused.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == 400
    assert "no such model" in response["OriginalMessage"]


def test_an_update_that_fails_leaves_what_answered(aws: Aws, endpoint: str, job_role: str) -> None:
    broken = _config(aws, job_role, None)
    aws.client("sagemaker").update_endpoint(EndpointName=endpoint, EndpointConfigName=broken)
    described = _settled(aws, endpoint)
    assert described["EndpointStatus"] == "InService"
    assert "did not pass the ping health check" in described["FailureReason"]
    assert "this model has no words" in described["FailureReason"]
    assert described["EndpointConfigName"] != broken
    test_it_answers_at_once(aws, endpoint)


@pytest.mark.aws_fact
def test_an_update_changes_over_when_the_new_one_is_ready(aws: Aws, job_role: str) -> None:
    name = f"endpoint-{uuid4().hex[:8]}"
    sagemaker, runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, "old words"))
    _settled(aws, name)
    wanted = _config(aws, job_role, "new words")
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=wanted)
    seen = set()
    while True:
        found = sagemaker.describe_endpoint(EndpointName=name)
        status = found["EndpointStatus"]
        pending = found.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        assert pending == (wanted if status == "Updating" else None)
        answer = runtime.invoke_endpoint(EndpointName=name, Body="{}", ContentType="application/json")
        seen.add(answer["Body"].read().decode())
        if status == "InService":
            break
    assert seen <= {"old words", "new words"}
    assert "new words" in seen
    sagemaker.delete_endpoint(EndpointName=name)
    _until_gone(aws, name)
    assert not _servers(aws, name)


def test_a_model_that_cannot_be_loaded_fails_the_endpoint(aws: Aws, job_role: str) -> None:
    name = f"endpoint-{uuid4().hex[:8]}"
    sagemaker = aws.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, None))
    described = _settled(aws, name)
    assert described["EndpointStatus"] == "Failed"
    assert "this model has no words" in described["FailureReason"]
    with pytest.raises(ClientError, match="is not InService"):
        aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body="{}")
    sagemaker.delete_endpoint(EndpointName=name)


def test_a_server_that_dies_is_started_again(aws: Aws, job_role: str) -> None:
    name = f"endpoint-{uuid4().hex[:8]}"
    sagemaker, runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, "again"))
    _settled(aws, name)
    [server] = _servers(aws, name)
    server.kill()

    def answer() -> dict[str, Any]:
        try:
            return {"body": runtime.invoke_endpoint(EndpointName=name, Body="{}")["Body"].read()}
        except ClientError as error:
            return {"error": error}

    until(answer, lambda seen: seen.get("body") == b"again")
    sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.aws_fact
def test_an_endpoint_is_not_deleted_while_it_changes(aws: Aws, job_role: str) -> None:
    name = f"endpoint-{uuid4().hex[:8]}"
    sagemaker = aws.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, "words"))
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName=name)
    assert _settled(aws, name)["EndpointStatus"] == "InService"
    sagemaker.delete_endpoint(EndpointName=name)
    _until_gone(aws, name)


@pytest.mark.aws_fact
def test_an_endpoint_without_its_configuration_is_not_updated(aws: Aws, job_role: str) -> None:
    name, before = f"endpoint-{uuid4().hex[:8]}", _config(aws, job_role, "old words")
    sagemaker = aws.client("sagemaker")
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=before)
    _settled(aws, name)
    sagemaker.delete_endpoint_config(EndpointConfigName=before)
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=_config(aws, job_role, "new words"))
    sagemaker.delete_endpoint(EndpointName=name)


@pytest.mark.aws_fact
def test_a_question_has_at_most_6_mb(aws: Aws, endpoint: str) -> None:
    runtime = aws.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}".ljust(6 * 2**20))["Body"].read()
    with pytest.raises(ClientError, match="over the limit of 6291456 bytes"):
        runtime.invoke_endpoint(EndpointName=endpoint, Body=b"{}".ljust(6 * 2**20 + 1))


def test_an_endpoint_that_is_not_there(aws: Aws) -> None:
    with pytest.raises(ClientError, match="Endpoint nobody not found") as refused:
        aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="nobody", Body="{}")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def _stream(aws: Aws, endpoint: str) -> Any:
    return aws.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
        EndpointName=endpoint, Body=json.dumps({"stream": True}), ContentType="application/json"
    )["Body"]


def _config(aws: Aws, role: str, words: str | None, instance: str = "ml.g6.xlarge") -> str:
    """Return an endpoint configuration whose model says `words`."""
    name = f"model-{uuid4().hex[:8]}"
    aws.client("s3").put_object(
        Bucket=BUCKET, Key=f"{name}/{'words' if words else 'nothing'}.txt", Body=words or "-"
    )
    source = {"S3Uri": f"s3://{BUCKET}/{name}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=role,
        PrimaryContainer={"Image": "any", "ModelDataSource": {"S3DataSource": source}},
    )
    variant = {"VariantName": "only", "ModelName": name, "InstanceType": instance}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    return name


def _settled(aws: Aws, name: str) -> dict[str, Any]:
    return until(
        lambda: aws.client("sagemaker").describe_endpoint(EndpointName=name),
        lambda seen: seen["EndpointStatus"] in ("InService", "Failed"),
    )


def _until_gone(aws: Aws, name: str) -> None:
    def look() -> dict[str, Any]:
        try:
            return dict(aws.client("sagemaker").describe_endpoint(EndpointName=name))
        except ClientError as error:
            return {"gone": "Could not find endpoint" in str(error)}

    until(look, lambda seen: bool(seen.get("gone")))


def _servers(aws: Aws, endpoint: str) -> list[psutil.Process]:
    """Return the processes that serve this endpoint."""
    return [
        process
        for process in belonging_to(cloud_id(aws.cloud.state))
        if any(f"endpoints/{endpoint}/" in part for part in _command(process))
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
