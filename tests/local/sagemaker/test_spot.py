"""A managed spot machine is taken away from the real training code, and the job goes on on another one."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from botocore.exceptions import ClientError
from safetensors.torch import load

from local.aws.sagemaker.training_request import SPOT_INTERRUPTION_TAG
from tests.local.sagemaker.conftest import BUCKET, Aws, training_request, until
from tests.unit.tiny_model import chat_example, save_tiny_model, write_examples

pytestmark = pytest.mark.cloud

LOGS = "/aws/sagemaker/TrainingJobs"
CHECKPOINT_STEPS = 7
CHANNELS = ("code", "model", "train", "validation")
SETTINGS = {
    "precision": "fp32",
    "sequence_length": "160",
    "batch_tokens": "320",
    "learning_rate": "0.02",
    "lora_rank": "4",
    "lora_dropout": "0.2",
    "epochs": "12",
    "checkpoint_steps": str(CHECKPOINT_STEPS),
}
CODE = Path(__file__).resolve().parents[3] / "training_code"
ENTRY_POINT = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
INTERRUPTED = [{"Key": SPOT_INTERRUPTION_TAG, "Value": "progress step=9 "}]


@pytest.fixture(scope="module")
def data(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the real code, a tiny model and a few tales in S3; their prefix."""
    root = tmp_path_factory.mktemp("spot")
    save_tiny_model(root / "model")
    for part, numbers in (("train", range(12)), ("validation", range(20, 23))):
        write_examples(root / part, [chat_example(n, "and the bell sang on " * (1 + n % 3)) for n in numbers])
    files = [(f"{path.parent.name}/{path.name}", path) for path in root.rglob("*") if path.is_file()]
    files += [(f"code/{path.relative_to(CODE)}", path) for path in CODE.rglob("*.py")]
    for key, path in files:
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"spot/{key}", Body=path.read_bytes())
    return f"s3://{BUCKET}/spot"


def train(aws: Aws, role: str, data: str, name: str, **changes: Any) -> dict[str, Any]:
    """Return a managed spot job with the real code, when it has ended."""
    started_by_toolkit = training_request(name, role)
    for member in ("ContainerEntrypoint", "ContainerArguments"):
        del started_by_toolkit["AlgorithmSpecification"][member]
    request = {
        **started_by_toolkit,
        "HyperParameters": SETTINGS | ENTRY_POINT,
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"{data}/{channel}/"}},
            }
            for channel in CHANNELS
        ],
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}/"},
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 300, "MaxWaitTimeInSeconds": 600},
        **changes,
    }
    sagemaker = aws.client("sagemaker")
    sagemaker.create_training_job(**request)
    return until(
        lambda: sagemaker.describe_training_job(TrainingJobName=name),
        lambda job: job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
        300,
    )


def adapter(aws: Aws, name: str) -> dict[str, torch.Tensor]:
    key = f"out/{name}/output/model/adapter_model.safetensors"
    return load(aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())


@pytest.mark.aws_fact
def test_a_job_that_loses_its_spot_machine_without_a_warning_ends_with_the_same_adapter(
    aws: Aws, job_role: str, data: str
) -> None:
    whole = train(aws, job_role, data, "spot-whole")
    interrupted = train(aws, job_role, data, "spot-interrupted", Tags=INTERRUPTED)

    for job in (whole, interrupted):
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [step["Status"] for step in interrupted["SecondaryStatusTransitions"]] == [
        "Downloading",
        "Training",
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
    ]
    log = aws.log(LOGS, "spot-interrupted/algo-1-")
    (went_on,) = [line for line in log if line.startswith("Resuming from step ")]
    assert int(re.findall(r"\d+", went_on)[0]) % CHECKPOINT_STEPS == 0, (
        "the toolkit passes no signal on: no checkpoint is written at the interruption"
    )
    steps = [line.split()[1] for line in log if line.startswith("progress ")]
    assert len([step for step in set(steps) if steps.count(step) > 1]) <= CHECKPOINT_STEPS
    kept = {
        key.removeprefix("checkpoints/spot-interrupted/") for key in aws.keys("checkpoints/spot-interrupted/")
    }
    assert {"checkpoint-a.pt", "checkpoint-b.pt"} < kept
    assert any(name.startswith("tensorboard/events.out.tfevents.") for name in kept)
    ours = adapter(aws, "spot-interrupted")
    for name, value in adapter(aws, "spot-whole").items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)


def test_only_a_spot_machine_can_be_taken_away(aws: Aws, job_role: str) -> None:
    with pytest.raises(ClientError, match="EnableManagedSpotTraining"):
        aws.training_job(job_role, Tags=INTERRUPTED)
