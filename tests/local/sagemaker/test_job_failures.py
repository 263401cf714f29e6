"""How a job that fails says why: by the files that SageMaker reads, and only so far as it reads them."""

from typing import Any
from uuid import uuid4

import pytest

from tests.local.sagemaker.conftest import BUCKET, Aws, until

pytestmark = pytest.mark.cloud

CONFIG = """
import json, os
from pathlib import Path

config = Path(os.environ["SM_INPUT_CONFIG_DIR"])
print("resources", (config / "resourceconfig.json").read_text(), flush=True)
(Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text("first " + "x" * 2000 + " last")
raise SystemExit(7)
"""
MESSAGE = """
import os, sys
from pathlib import Path

root = Path(os.environ["LOCAL_AWS_PROCESSING_ROOT"]).parent
(root / "output").mkdir(exist_ok=True)
(root / "output" / "message").write_bytes({message})
print("the log", (root / "config" / "processingjobconfig.json").read_text(), flush=True)
raise SystemExit(3)
"""


def trained(aws: Aws, role: str, program: str, **changes: Any) -> dict[str, Any]:
    """Return a training job with this program, when it has ended."""
    prefix = f"failures/{uuid4().hex[:8]}"
    aws.client("s3").put_object(Bucket=BUCKET, Key=f"{prefix}/train.py", Body=program)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}/"}
    channels = [{"ChannelName": "code", "DataSource": {"S3DataSource": source}}]
    return aws.ended(aws.training_job(role, InputDataConfig=channels, **changes))


def processed(aws: Aws, role: str, message: bytes) -> dict[str, Any]:
    """Return a processing job that leaves a message and fails, when it has ended."""
    name = f"fails-{uuid4().hex[:8]}"
    key = f"failures/{name}/process.py"
    aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=MESSAGE.format(message=message))
    sagemaker = aws.client("sagemaker")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=role,
        AppSpecification={
            "ImageUri": "any",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/process.py"],
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}
        },
        ProcessingInputs=[
            {
                "InputName": "code",
                "S3Input": {
                    "S3Uri": f"s3://{BUCKET}/failures/{name}/",
                    "LocalPath": "/opt/ml/processing/input/code",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
    )
    return until(
        lambda: sagemaker.describe_processing_job(ProcessingJobName=name),
        lambda seen: seen["ProcessingJobStatus"] in ("Completed", "Failed"),
    )


@pytest.mark.aws_fact
def test_the_reason_of_a_training_job_is_the_beginning_of_its_failure_file(aws: Aws, job_role: str) -> None:
    job = trained(aws, job_role, CONFIG)
    assert job["FailureReason"].startswith("AlgorithmError: first xxx")
    assert len(job["FailureReason"]) == 1024 and "last" not in job["FailureReason"]


@pytest.mark.aws_fact
def test_a_training_job_is_told_its_instance(aws: Aws, job_role: str) -> None:
    job = trained(aws, job_role, CONFIG)
    (line,) = [
        line
        for line in aws.log("/aws/sagemaker/TrainingJobs", f"{job['TrainingJobName']}/algo-1-")
        if line.startswith("resources ")
    ]
    assert '"current_instance_type": "ml.g6.xlarge"' in line and '"instance_groups": [{' in line


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    "message", [b"no test stories", b"x" * 1023 + "\u00e9".encode()], ids=["short", "long"]
)
def test_a_processing_job_says_why_in_its_exit_message_alone(aws: Aws, job_role: str, message: bytes) -> None:
    job = processed(aws, job_role, message)
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert job["ExitMessage"] == message[:1024].decode(errors="ignore")


def test_an_exit_message_that_is_no_text_fails_the_job(aws: Aws, job_role: str) -> None:
    assert processed(aws, job_role, b"\xff\xfe")["FailureReason"].startswith("ClientError: ")
