"""One local cloud for these tests, with a bucket, roles and tiny jobs that really run."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.sagemaker.simulated_clock import FILE_VARIABLE
from local.cloud import LocalCloud

BUCKET = "jobs-bucket"
JOB_SECONDS = 180.0

TRAIN = """
import json, os, signal, sys, time
from pathlib import Path

settings = json.loads((Path(os.environ["SM_INPUT_CONFIG_DIR"]) / "hyperparameters.json").read_text())
checkpoints = Path(os.environ["SM_CHECKPOINT_DIR"])
print("arguments", sys.argv[1:], flush=True)
print("found", sorted(path.name for path in checkpoints.iterdir()), flush=True)
print("secrets", sorted(name for name in os.environ if "SECRET" in name or "TOKEN" in name), flush=True)
(checkpoints / "step-1").write_text("one")


def stop(signum, frame):
    print("asked to stop", flush=True)
    (Path(os.environ["SM_MODEL_DIR"]) / "last.txt").write_text("saved in time")
    raise SystemExit(0)


signal.signal(signal.SIGTERM, stop)
for step, loss in enumerate((2.5, 1.5), start=1):
    print(f"metric train_loss={loss} step={step}", flush=True)
time.sleep(float(settings.get("seconds", "0")))
if "fail_with" in settings:
    if settings.get("words"):
        (Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text(settings["words"])
    print("the last line of the log", flush=True)
    raise SystemExit(int(settings["fail_with"]))
(Path(os.environ["SM_MODEL_DIR"]) / "model.txt").write_text("trained")
"""

PROCESS = """
import os
from pathlib import Path

root = Path(os.environ["LOCAL_AWS_PROCESSING_ROOT"])
words = (root / "input" / "words" / "words.txt").read_text().split()
(root / "output" / "count.txt").write_text(str(len(words)))
"""


@dataclass
class Aws:
    """The cloud as its administrator sees it, and what the tests make in it."""

    cloud: LocalCloud
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def clock(self) -> Path:
        """The file that is SageMaker's time while it exists."""
        return self.cloud.state / "sagemaker-clock"

    def client(self, service: str, **credentials: str) -> Any:
        """Return a boto3 client; of the administrator unless other credentials are given."""
        key = f"{service}{credentials.get('aws_access_key_id', '')}"
        if key not in self._clients:
            environment = self.cloud.environment()
            given = credentials or {
                "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            }
            session: Any = boto3.Session(region_name=REGION)
            self._clients[key] = session.client(
                service,
                **given,
                endpoint_url=environment["AWS_ENDPOINT_URL"],
                verify=environment["AWS_CA_BUNDLE"],
            )
        return self._clients[key]

    def role(self, service: str, allowed: dict[str, str], name: str = "") -> str:
        """Make a role for `service` that may do each action on its resource; return its ARN."""
        name = name or f"role-{uuid4().hex[:8]}"
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=_document([trust]))
        self.allow(name, allowed)
        return f"arn:aws:iam::{ACCOUNT}:role/{name}"

    def allow(self, role: str, allowed: dict[str, str]) -> None:
        """Replace what the role may do."""
        self.client("iam").put_role_policy(
            RoleName=role.rpartition("/")[2],
            PolicyName="allowed",
            PolicyDocument=_document(_statements(allowed)),
        )

    def user(self, service: str, allowed: dict[str, str]) -> Any:
        """Return a client of somebody who may do only this."""
        return self.user_with(service, _statements(allowed))

    def user_with(self, service: str, statements: list[dict[str, Any]]) -> Any:
        """Return a client of somebody who may do what these statements of a policy allow."""
        iam = self.client("iam")
        name = f"user-{uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        iam.put_user_policy(
            UserName=name,
            PolicyName="allowed",
            PolicyDocument=_document([{"Effect": "Allow", **statement} for statement in statements]),
        )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.client(
            service, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
        )

    def training_job(self, role: str, hyperparameters: dict[str, str] | None = None, **changes: Any) -> str:
        """Start a job that runs TRAIN; returns its name."""
        name = f"job-{uuid4().hex[:8]}"
        self.client("sagemaker").create_training_job(
            **{**training_request(name, role), "HyperParameters": hyperparameters or {}, **changes}
        )
        return name

    def ended(self, name: str) -> dict[str, Any]:
        """Return the training job's description when it has ended."""
        sagemaker = self.client("sagemaker")
        return until(
            lambda: sagemaker.describe_training_job(TrainingJobName=name),
            lambda job: job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
        )

    def log(self, group: str, prefix: str) -> list[str]:
        """Return the lines of the streams of `group` whose names start with `prefix`."""
        logs = self.client("logs")
        try:
            # Stream by stream: MiniStack's FilterLogEvents looks at no prefix.
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def keys(self, prefix: str) -> list[str]:
        """Return the objects below a prefix of the bucket."""
        listed = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]


def training_request(name: str, role: str) -> dict[str, Any]:
    """Return a complete CreateTrainingJob request."""
    code = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/code/"}
    return {
        "TrainingJobName": name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"],
            "ContainerArguments": ["--model", "/opt/ml/model"],
            "MetricDefinitions": [{"Name": "train:loss", "Regex": "metric train_loss=([0-9.eE+-]+)"}],
        },
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": code}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"},
        "ResourceConfig": {"InstanceType": "ml.g6.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "EnableNetworkIsolation": True,
    }


JOB_PERMISSIONS = {
    "s3:GetObject": f"arn:aws:s3:::{BUCKET}/*",
    "s3:PutObject": f"arn:aws:s3:::{BUCKET}/*",
    "s3:ListBucket": f"arn:aws:s3:::{BUCKET}",
    "logs:CreateLogGroup": "*",
    "logs:CreateLogStream": "*",
    "logs:PutLogEvents": "*",
    "cloudwatch:PutMetricData": "*",
}


def until(
    look: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool], seconds: float = JOB_SECONDS
) -> dict[str, Any]:
    """Look until it is done; fails with the last look after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done(seen := look()):
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not done after {seconds} s: {seen}")


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _statements(allowed: dict[str, str]) -> list[dict[str, Any]]:
    return [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in allowed.items()]


def _document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Return a running cloud with a bucket that holds the jobs' code and data."""
    state = tmp_path_factory.mktemp("sagemaker-cloud")
    cloud = LocalCloud(Path.cwd(), state, free_port(), free_port())
    account = Aws(cloud)
    try:
        with pytest.MonkeyPatch.context() as serving:  # for this cloud alone: others host real models
            serving.setenv("LOCAL_AWS_ENDPOINT_SERVER", "tests.local.sagemaker.echo_server")
            serving.setenv("LOCAL_AWS_SCALING_PERIOD_SECONDS", "0.1")
            serving.setenv(FILE_VARIABLE, str(account.clock))
            cloud.up()
        s3 = account.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="code/train.py", Body=TRAIN)
        s3.put_object(Bucket=BUCKET, Key="code/process.py", Body=PROCESS)
        s3.put_object(Bucket=BUCKET, Key="words/words.txt", Body="once upon a time")
        yield account
    finally:
        cloud.down()


@pytest.fixture(scope="session")
def job_role(aws: Aws) -> str:
    """Return a role that may do what a job needs."""
    return aws.role("sagemaker.amazonaws.com", JOB_PERMISSIONS)
