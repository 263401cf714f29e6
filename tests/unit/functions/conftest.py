"""A MiniStack for the functions: real table, buckets, topic, schedules and executions, without the stacks."""

import io
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import boto3
import httpx
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, s3_keys
from contracts.environment import EnvironmentGroup
from contracts.resource_names import DEPLOY_SCHEDULE, UPLOADS_SCHEDULE, AppNames
from contracts.settings import Settings
from endpoint_manager.handler import handler as endpoint_manager
from shared import clock
from shared.aws import clients
from shared.hosting import endpoint, endpoint_configs, hosting_state
from shared.items import ModelVersion
from shared.models import versions
from start_run.handler import handler as start_run
from tests.unit.functions.sagemaker_stand_in import Stage, StandIn

ACCOUNT = "123456789012"
BASE_MODEL = {
    "name": "smollm2-135m",
    "id": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "slug": "smollm2-135m",
    "revision": "r1",
    "chat": True,
    "context_length": 8192,
    "parameters_millions": 135,
    "gated": False,
}
SETTINGS = Settings(max_training_minutes=3)
Call = Callable[..., dict[str, Any]]
Letters = Callable[[], list[dict[str, str]]]


@dataclass(frozen=True)
class DeployedResources:
    """What one test deployed to."""

    table: str
    stories: str
    artifacts: str
    topic_arn: str
    state_machine_arn: str
    schedule_group: str


@pytest.fixture(scope="session")
def cloud_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start MiniStack on a free port, without IAM and TLS: the journey's tests have both."""
    folder = tmp_path_factory.mktemp("ministack")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "S3_DATA_DIR": str(folder / "s3"),
        "STATE_DIR": str(folder / "state"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(folder),
        "HOME": str(folder),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "LOG_LEVEL": "WARNING",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    forget_clients()
    try:
        _wait_for(url, folder / "log")
        yield url
    finally:
        process.kill()
        process.wait()
        forget_clients()


def _wait_for(url: str, log: Path) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{url}/_ministack/health", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"MiniStack did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Where the tests' SageMakers answer."""
    server = Stage()
    yield server
    server.close()


@pytest.fixture
def sagemaker(stage: Stage) -> StandIn:
    """A SageMaker that the test directs."""
    stand_in = StandIn()
    stage.enter(stand_in)
    return stand_in


@pytest.fixture
def resources(
    cloud_url: str, stage: Stage, sagemaker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> DeployedResources:
    """Make what the Storage and Pipeline stacks would, named for this test alone, and the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "STORYLOOM_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": cloud_url,
        "AWS_ENDPOINT_URL_SAGEMAKER": stage.url,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": stage.url,
        "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING": stage.url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_LOG_LEVEL": "WARNING",
    }.items():
        monkeypatch.setenv(name, value)
    made = _make(f"t{uuid.uuid4().hex[:10]}")
    for name, value in environment_of(made).items():
        monkeypatch.setenv(name, value)
    return made


def forget_clients() -> None:
    """Have the next call make its client afresh: these are for this MiniStack."""
    for make in vars(clients).values():
        if hasattr(make, "cache_clear"):
            make.cache_clear()


def _make(tag: str) -> DeployedResources:
    clients.dynamodb().create_table(
        TableName=tag,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for bucket in (f"{tag}-stories", f"{tag}-artifacts"):
        clients.s3().create_bucket(Bucket=bucket)
    clients.s3().put_bucket_versioning(Bucket=f"{tag}-stories", VersioningConfiguration={"Status": "Enabled"})
    topic = clients.sns().create_topic(Name=tag)["TopicArn"]
    # Waits, so that a run goes on until the test ends it.
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    machine = clients.stepfunctions().create_state_machine(
        name=tag, definition=json.dumps(definition), roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine"
    )
    clients.scheduler().create_schedule_group(Name=tag)
    clients.ssm().put_parameter(Name=page_parameter(tag), Value="https://page.example/", Type="String")
    return DeployedResources(
        tag, f"{tag}-stories", f"{tag}-artifacts", topic, machine["stateMachineArn"], tag
    )


def page_parameter(tag: str) -> str:
    """Name the parameter that the Chat stack writes; without it there is no Chat stack."""
    return AppNames(tag).page_url_parameter


def environment_of(made: DeployedResources) -> dict[str, str]:
    """Return the variables that the stacks tell the functions."""
    account = f"arn:aws:iam::{ACCOUNT}"
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:1"
    instances = ["ml.g6.xlarge", "ml.g5.xlarge"]
    groups: tuple[EnvironmentGroup, ...] = (
        environment.Common.from_settings(
            SETTINGS,
            table=made.table,
            stories_bucket=made.stories,
            artifacts_bucket=made.artifacts,
            base_model=BASE_MODEL,
        ),
        environment.Schedule.from_settings(
            SETTINGS,
            start_run_arn=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:start_run",
            schedule_name=UPLOADS_SCHEDULE,
            deploy_schedule_name=DEPLOY_SCHEDULE,
            schedule_group=made.schedule_group,
            schedule_role_arn=f"{account}:role/schedule",
        ),
        environment.StateMachine(state_machine_arn=made.state_machine_arn),
        environment.Messages(topic_arn=made.topic_arn),
        environment.Assembly.from_settings(
            SETTINGS,
            processing_instances=instances,
            training_code_uri=s3_keys.uri(made.artifacts, s3_keys.training_code("abc")),
        ),
        environment.GateRules.from_settings(SETTINGS),
        environment.Registry.from_settings(SETTINGS, model_package_group=SETTINGS.name, hosting_image=image),
        environment.Hosting.from_settings(
            SETTINGS,
            hosting_image=image,
            hosting_role_arn=f"{account}:role/hosting",
            endpoint_name=SETTINGS.name,
            rollback_alarms=AppNames(made.table).rollback_alarms,
        ),
        environment.SpendingLimit.from_settings(SETTINGS),
        environment.RunCosts.from_settings(
            SETTINGS,
            processing_instances=instances,
            grace_minutes=30,
            longest_evaluation_minutes=120,
            spot_wait_hours=8,
        ),
        environment.GivenPrices(instance_prices={"ml.g6.xlarge": 1.13, "ml.g5.xlarge": 1.41}),
        environment.BilledInstances(billed_instances={"training": instances[:1], "hosting": instances}),
        environment.FunctionNames(
            endpoint_manager_function="endpoint_manager",
            start_run_function="start_run",
            start_batch_function="start_batch",
        ),
        environment.Api.from_settings(SETTINGS, s3_endpoint=""),
        environment.TransformInstances(
            transform_tokens_per_second={"ml.g6.xlarge": 800.0, "ml.g5.xlarge": 1600.0}
        ),
        environment.TransformJobs.from_settings(
            SETTINGS, hosting_image=image, transform_role_arn=f"{account}:role/transform"
        ),
        environment.TokenLimit(daily_tokens=SETTINGS.daily_tokens_per_person),
        environment.PageAddress(page_url_parameter=page_parameter(made.table)),
    )
    return {name: value for group in groups for name, value in group.variables().items()}


@pytest.fixture
def letters(resources: DeployedResources) -> Letters:
    """A queue that is subscribed to the topic; calling it returns the letters so far."""
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName=resources.table)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    clients.sns().subscribe(TopicArn=resources.topic_arn, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, str]]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]

    return read


def caller_headers(
    sub: str = "u1", scopes: str = "chat read write keys people", **more: str
) -> dict[str, str]:
    """The header that the Web Adapter gives the API: who asks, as the authorizer found out."""
    who = {"sub": sub, "scopes": scopes, **more}
    return {"x-amzn-request-context": json.dumps({"authorizer": who})}


class Lambdas:
    """Calls start_run and the endpoint manager directly, instead of through Lambda."""

    _HANDLERS: ClassVar = {"start_run": start_run, "endpoint_manager": endpoint_manager}

    def __init__(self, context: LambdaContext) -> None:
        self._context = context

    # boto3 names its arguments so
    def invoke(self, FunctionName: str, Payload: bytes, InvocationType: str = "") -> dict[str, Any]:  # noqa: N803
        handler = self._HANDLERS[FunctionName.rpartition(":")[2]]
        outcome = handler(json.loads(Payload), self._context)
        return {"Payload": io.BytesIO(json.dumps(outcome).encode())}

    @staticmethod
    def get_account_settings() -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}


class Context(LambdaContext):
    """A Lambda context with ten minutes left."""

    def __init__(self) -> None:
        self._function_name = "test"
        self._memory_limit_in_mb = 128
        self._invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:test"
        self._aws_request_id = "test"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 600_000


@pytest.fixture
def settings(resources: DeployedResources) -> DeployedResources:
    """The variables of assemble, which every test has."""
    return resources


@pytest.fixture
def context() -> LambdaContext:
    """A Lambda context."""
    return Context()


@pytest.fixture
def live_v1(resources: DeployedResources) -> str:
    """Make `v1` live, with its bundle; returns its bundle's URI."""
    model = ModelVersion(
        version="v1",
        run_id="20260901-100000-aaaa",
        status="approved",
        adapter_uri=f"s3://{resources.artifacts}/runs/20260901-100000-aaaa/training/job/output/model/",
        adapter_sha256="a" * 64,
        base_model=str(BASE_MODEL["id"]),
        base_revision="r1",
        base_perplexity=30.0,
        tuned_perplexity=24.0,
        created_at=clock.stamp(),
    )
    versions.save(model)
    return versions.make_live(model, f"s3://{resources.artifacts}/hosting/v1/").bundle_uri


@pytest.fixture
def lambdas_at_once(context: LambdaContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Lambda is deployed here: what the functions have it start is started in their place."""
    monkeypatch.setattr(clients, "lambdas", lambda: Lambdas(context))


@pytest.fixture
def awake_v1(resources: DeployedResources, live_v1: str, sagemaker: StandIn) -> StandIn:
    """v1 live and in service; what it answers is for the test to say."""
    config = endpoint_configs.ensure_config(live_v1, "ml.g6.xlarge")
    endpoint.converge(config)
    sagemaker.in_service()
    hosting_state.mark_awake("v1", config)
    return sagemaker
