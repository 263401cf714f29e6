"""The app's own functions over the local cloud, for a month: its API, endpoint manager, and its runs."""

import contextlib
import io
import json
import random
from collections.abc import Callable
from typing import Any, Literal
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from fastapi.testclient import TestClient

from chat_api.app import app
from chat_api.services import model_access
from contracts import environment, s3_keys
from contracts.resource_names import AppNames
from deploy import bundle
from deploy.handler import MonthlyLimitReached
from deploy.handler import handler as deploy
from endpoint_manager.handler import handler as endpoint_manager
from next_attempt.handler import handler as next_attempt
from reserve.handler import handler as reserve
from shared import clock
from shared.aws import clients
from shared.items import ModelVersion
from shared.models import versions
from shared.recovery import attempts
from shared.runs import lock, run_records
from smoke_test.checks import SmokeTestFailed
from smoke_test.handler import handler as smoke_test
from start_batch.handler import handler as start_batch
from start_run.handler import handler as start_run
from tests.local.sagemaker.conftest import BUCKET, JOB_PERMISSIONS, Aws, training_request
from tests.local.sagemaker.month_bill import ENDED
from tests.local.sagemaker.month_clock import Crashed, Interrupted, Interruptions, MonthClock, Trouble
from tests.unit.functions.conftest import (
    Context,
    DeployedResources,
    caller_headers,
    environment_of,
    forget_clients,
)

LIMIT_USD = 5.0
USD_PER_HOUR = {"ml.g6.xlarge": 1.5, "ml.g5.xlarge": 1.8}
TRIALS, TRIAL_SECONDS = 2, 900
_SECONDS_A_TOKEN = "0.004"
_ALARM: dict[str, Any] = {
    "Namespace": "Month",
    "MetricName": "none",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}
_ENDS = (Crashed, ClientError, SmokeTestFailed, MonthlyLimitReached)
"""How a function may end in a month: Lambda notes it, and nobody repairs anything."""

# Every job of the month: it takes as long as it was told, by the clock of the month.
JOB = """
import json, os, signal, sys, time
from pathlib import Path

told = json.loads(os.environ["SM_HPS"])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
clock = Path(told["clock"])
until = float(clock.read_text()) + 60 * float(told["minutes"])
print("metric train_loss=1.5", flush=True)
while float(clock.read_text()) < until:
    time.sleep(0.05)
if told.get("failure"):
    Path(os.environ.get("SM_OUTPUT_FAILURE", "failure")).write_text(told["failure"])
    sys.exit(1)
"""


class _Functions:
    """Lambda: calls the functions themselves. What nobody waits for is done afterwards."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, dict[str, Any]]] = []

    # boto3 names its arguments so
    def invoke(self, FunctionName: str, Payload: bytes, InvocationType: str = "") -> dict[str, Any]:  # noqa: N803
        name, event = FunctionName.rpartition(":")[2], json.loads(Payload)
        if InvocationType == "Event":
            self.queue.append((name, event))
            return {}
        return {"Payload": io.BytesIO(json.dumps(start_run(event, Context())).encode())}

    @staticmethod
    def get_account_settings() -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}


class MonthOfTheApp:
    """The app in its account."""

    def __init__(self, account: Aws, month: MonthClock, patch: pytest.MonkeyPatch) -> None:
        """Deploy what the stacks would, and have v1 live and asleep."""
        self.account, self.time = account, month
        self.interruptions, self.functions = Interruptions(month), _Functions()
        role = account.role("sagemaker.amazonaws.com", JOB_PERMISSIONS | {"cloudwatch:DescribeAlarms": "*"})
        self.role = role
        self._set_environment(patch, role)
        self._stand_between(patch)
        self._make_resources()
        self.version = 1
        model = self.register(sound=True)
        versions.make_live(model, s3_keys.uri(BUCKET, s3_keys.hosting("v1")))
        self.browser = TestClient(app, raise_server_exceptions=False)

    def call(self, function: Callable[[], Any], trouble: Trouble | None = None) -> bool:
        """Call a function, and then those that it calls. Returns whether it did all that it should."""
        self.interruptions.plan(trouble)
        well = True
        try:
            function()
        except _ENDS:
            well = False
        well = well and not self.interruptions.died
        self.interruptions.plan(None)
        while self.functions.queue:
            name, event = self.functions.queue.pop(0)
            handler = endpoint_manager if name == "endpoint_manager" else start_batch
            with contextlib.suppress(*_ENDS):
                handler(event, Context())
        return well

    def ask(self, who: dict[str, str], path: str, **body: Any) -> dict[str, Any]:
        """Post to the API as a user, and return its answer with the `status_code`."""
        model_access._last_check = float("-inf")
        answer = self.browser.post(f"/api/{path}", json=body or None, headers=who)
        # What a function that died had said until then is no JSON.
        said = answer.json() if answer.text.endswith("}") else {}
        return {"status_code": answer.status_code, **said}

    def see(self, path: str) -> dict[str, Any]:
        """Get from the API as the owner."""
        answer = self.browser.get(f"/api/{path}", headers=caller_headers())
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def register(self, *, sound: bool) -> ModelVersion:
        """Write the next version and its bundle; one that is not sound cannot be loaded."""
        number = self.version
        self.version += 1
        version = f"v{number}"
        said = {"content": "Good."}
        choice = {"index": 0, "message": said, "delta": said, "finish_reason": "stop"}
        answer = {"model": version, "choices": [choice]}
        files = {"words.txt" if sound else "nothing.txt": json.dumps(answer, separators=(",", ":"))}
        for name, content in (files | {"seconds_a_token.txt": _SECONDS_A_TOKEN}).items():
            clients.s3().put_object(Bucket=BUCKET, Key=s3_keys.hosting(version) + name, Body=content)
        model = ModelVersion(
            version=version,
            run_id=run_records.new_id(clock.now()),
            status="approved",
            adapter_uri=s3_keys.uri(BUCKET, "adapter/"),
            adapter_sha256="a" * 64,
            base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
            base_revision="r1",
            created_at=clock.stamp(),
        )
        versions.save(model)
        return model

    def _set_environment(self, patch: pytest.MonkeyPatch, role: str) -> None:
        tag = f"m-{uuid4().hex[:6]}"
        states = self.account.client("stepfunctions")
        waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 9999, "End": True}}}
        machine = states.create_state_machine(
            name=tag,
            definition=json.dumps(waiting),
            roleArn=self.account.role("states.amazonaws.com", {"logs:*": "*"}),
        )["stateMachineArn"]
        resources = DeployedResources(tag, "stories", BUCKET, "topic", machine, tag)
        changes = {
            "NAME": tag,
            "MONTHLY_LIMIT_USD": str(LIMIT_USD),
            "INSTANCE_PRICES": json.dumps(USD_PER_HOUR),
            "HOSTING_FALLBACK_INSTANCES": '["ml.g5.xlarge"]',
            "MAX_TRAINING_MINUTES": "30",
            "GRACE_MINUTES": "5",
            "IDLE_MINUTES": "10",
            "LONGEST_EVALUATION_MINUTES": "10",
            "ENDPOINT_NAME": tag,
            "HOSTING_ROLE_ARN": role,
            "TRANSFORM_ROLE_ARN": role,
        }
        told = {environment.variable(name): value for name, value in changes.items()}
        for name, value in (environment_of(resources) | told).items():
            patch.setenv(name, value)
        for name, value in self.account.cloud.environment().items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)

    def _stand_between(self, patch: pytest.MonkeyPatch) -> None:
        forget_clients()
        patch.setattr(clock, "now", self.time.now)
        patch.setattr(clients, "lambdas", lambda: self.functions)
        for service in ("sagemaker", "dynamodb", "stepfunctions"):
            client = Interrupted(getattr(clients, service)(), self.interruptions)
            patch.setattr(clients, service, lambda client=client: client)
        # Building a bundle costs nothing on SageMaker, so the walk uses one that exists already.
        patch.setattr(
            bundle,
            "build",
            lambda model, _: bundle.Bundle(s3_keys.uri(BUCKET, s3_keys.hosting(model.version)), merged=False),
        )

    def _make_resources(self) -> None:
        clients.dynamodb().create_table(
            TableName=environment.common().table,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        parameter = environment.read(environment.PageAddress).page_url_parameter
        clients.ssm().put_parameter(Name=parameter, Value="https://page.example/", Type="String")
        for alarm in environment.read(environment.Hosting).rollback_alarms:
            self.account.client("cloudwatch").put_metric_alarm(AlarmName=alarm, **_ALARM)
        clients.s3().put_object(Bucket=BUCKET, Key="month/job.py", Body=JOB)


class MonthRun:
    """What the state machine does with a run, as far as it costs: by its jobs' own ends."""

    def __init__(self, month: MonthOfTheApp, run_id: str, chance: random.Random, *, tune: bool) -> None:
        """Begin with what `Assemble` lays out."""
        self.month, self.run_id, self.chance, self.tune = month, run_id, chance, tune
        self.stage = "reserve"
        self.deployment: dict[str, Any] | None = None
        name = environment.common().name
        jobs = {
            "training_attempt": 1,
            "training_job_name": AppNames(name).training_job(run_id),
            "hyperparameters": {"max_seconds": "1800"},
            "processing_inputs": [],
            "tuning": {
                "job_name": AppNames(name).tuning_job(run_id),
                "resource_limits": {"MaxNumberOfTrainingJobs": TRIALS, "MaxParallelTrainingJobs": TRIALS},
                "stopping_condition": {
                    "MaxRuntimeInSeconds": TRIAL_SECONDS,
                    "MaxWaitTimeInSeconds": 2 * TRIAL_SECONDS,
                },
            },
        }
        self.jobs = attempts.evaluation_attempt(run_id, jobs, 1, ["ml.g6.xlarge", "ml.g5.xlarge"])
        run_records.create_run(run_id, "", "by hand")

    def step(self) -> None:
        """Take one step, if the state in progress has ended."""
        getattr(self, f"_{self.stage}")()

    def stop(self) -> None:
        """End the run, and with it its job, as the end of its execution does."""
        sagemaker = self.month.account.client("sagemaker")
        stops: dict[str, Callable[[], Any]] = {
            "search": lambda: sagemaker.stop_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=self.jobs["tuning"]["job_name"]
            ),
            "train": lambda: sagemaker.stop_training_job(TrainingJobName=self.jobs["training_job_name"]),
            "evaluate": lambda: sagemaker.stop_processing_job(
                ProcessingJobName=self.jobs["processing_job_name"]
            ),
        }
        # It may have ended a moment ago.
        with contextlib.suppress(ClientError):
            stops.get(self.stage, lambda: None)()
        self._finish()

    def _finish(self) -> None:
        self.stage = "end"
        states = self.month.account.client("stepfunctions")
        machine = environment.read(environment.StateMachine).state_machine_arn
        with contextlib.suppress(ClientError):
            states.stop_execution(
                executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{self.run_id}"
            )
        run_records.finish(self.run_id, "failed", "It ended.")
        lock.force_release(self.run_id)

    def _reserve(self) -> None:
        event = {"run_id": self.run_id, "jobs": self.jobs, "tune": self.tune}
        jobs = reserve(event | {"estimate": {"training_minutes": 6}}, Context())
        self.jobs = jobs
        if not jobs["reserved"]:
            self._finish()
        else:
            self._make("search" if self.tune else "train")

    def _make(self, stage: Literal["search", "train", "evaluate"]) -> None:
        """Make a job, as the state machine does; one that SageMaker refuses has failed."""
        self.stage = stage
        try:
            getattr(self, f"_make_{stage}")()
        except ClientError as error:
            # As Step Functions names what an API of SageMaker refuses.
            failure = {
                "Error": f"SageMaker.{error.response['Error']['Code']}Exception",
                "Cause": error.response["Error"]["Message"],
            }
            self._try_again(failure)

    def _request(self, **told: str) -> dict[str, Any]:
        request = training_request(self.jobs["training_job_name"], self.month.role)
        request["AlgorithmSpecification"]["ContainerEntrypoint"] = [
            "python3",
            "/opt/ml/input/data/code/job.py",
        ]
        request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = f"s3://{BUCKET}/month/"
        return {
            **request,
            "HyperParameters": {"clock": str(self.month.account.clock), **told},
            "EnableManagedSpotTraining": True,
        }

    def _make_train(self) -> None:
        minutes, failure, interrupted = self.chance.choice(
            [
                *[("6", "", False)] * 3,
                ("7", "", True),
                ("300", "", False),
                ("4", "The script failed.", False),
                ("5", "CapacityError: no machine was free.", False),
            ]
        )
        tags = [{"Key": "local:interrupt-spot-after", "Value": "metric"}] if interrupted else []
        request = self._request(minutes=minutes, failure=failure)
        limit = self.jobs["stopping_condition"]
        self.month.account.client("sagemaker").create_training_job(
            **request | {"StoppingCondition": limit, "Tags": tags}
        )

    def _make_search(self) -> None:
        request = self._request(minutes="8")
        del request["TrainingJobName"], request["AlgorithmSpecification"]["ContainerEntrypoint"]
        del request["AlgorithmSpecification"]["ContainerArguments"]
        toolkit = {"sagemaker_program": "job.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
        tuning = self.jobs["tuning"]
        rate = {"Name": "rate", "MinValue": "0.1", "MaxValue": "1", "ScalingType": "Linear"}
        static = toolkit | request.pop("HyperParameters")
        self.month.account.client("sagemaker").create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=tuning["job_name"],
            HyperParameterTuningJobConfig={
                "Strategy": "Bayesian",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "train:loss"},
                "ResourceLimits": tuning["resource_limits"],
                "ParameterRanges": {"ContinuousParameterRanges": [rate]},
            },
            TrainingJobDefinition={
                **request,
                "StaticHyperParameters": static,
                "StoppingCondition": tuning["stopping_condition"],
            },
        )

    def _make_evaluate(self) -> None:
        minutes, failure = self.chance.choice([*[("3", "")] * 6, ("60", ""), ("2", "It failed.")])
        told = {"clock": str(self.month.account.clock), "minutes": minutes, "failure": failure}
        code = {"S3Uri": f"s3://{BUCKET}/month/", "LocalPath": "/opt/ml/processing/input/code"}
        cluster = {"InstanceType": self.jobs["processing_instance"], "InstanceCount": 1, "VolumeSizeInGB": 10}
        self.month.account.client("sagemaker").create_processing_job(
            ProcessingJobName=self.jobs["processing_job_name"],
            RoleArn=self.month.role,
            AppSpecification={
                "ImageUri": "any",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/job.py"],
            },
            Environment={"SM_HPS": json.dumps(told)},
            ProcessingInputs=[
                {"InputName": "code", "S3Input": {**code, "S3DataType": "S3Prefix", "S3InputMode": "File"}}
            ],
            ProcessingResources={"ClusterConfig": cluster},
            StoppingCondition={"MaxRuntimeInSeconds": 600},
        )

    def _search(self) -> None:
        job = self.month.account.client("sagemaker").describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=self.jobs["tuning"]["job_name"]
        )
        status = job["HyperParameterTuningJobStatus"]
        if status == "Completed":
            self._make("evaluate")
        elif status in ENDED:
            self._finish()

    def _train(self) -> None:
        job = self.month.account.client("sagemaker").describe_training_job(
            TrainingJobName=self.jobs["training_job_name"]
        )
        # A training that was told to stop at its limit has a model, as one that ended by itself.
        if job["TrainingJobStatus"] == "Completed" or job["SecondaryStatus"] == "MaxRuntimeExceeded":
            self._make("evaluate")
        elif job["TrainingJobStatus"] in ENDED:
            self._try_again({"Error": "States.TaskFailed", "Cause": json.dumps(job, default=str)})

    def _evaluate(self) -> None:
        job = self.month.account.client("sagemaker").describe_processing_job(
            ProcessingJobName=self.jobs["processing_job_name"]
        )
        if job["ProcessingJobStatus"] == "Completed":
            self.stage = "deploy"
        elif job["ProcessingJobStatus"] in ENDED:
            self._try_again({"Error": "States.TaskFailed", "Cause": json.dumps(job, default=str)})

    def _try_again(self, failure: dict[str, str]) -> None:
        step = "Evaluate" if self.stage == "evaluate" else "Train"
        event = {"run_id": self.run_id, "step": step, "jobs": self.jobs, "failure": failure}
        self.jobs = next_attempt(event, Context())
        if self.jobs["again"]:
            self._make("evaluate" if step == "Evaluate" else "train")
        else:
            self._finish()

    def _deploy(self) -> None:
        version = self.month.register(sound=self.chance.random() < 0.7).version
        try:
            self.deployment = deploy({"run_id": self.run_id, "version": version}, Context())
        except MonthlyLimitReached:
            self._finish()
        else:
            self.stage = "smoke"

    def _smoke(self) -> None:
        event = {"run_id": self.run_id, "deployment": self.deployment}
        try:
            passed = smoke_test(event, Context())["status"] == "passed"
        except SmokeTestFailed:
            passed = True
        if passed:
            self._finish()

    def _end(self) -> None:
        """Return no next state."""
