"""The clean-up at deletion: all of this app's resources are deleted, in the right order, and no others."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from clean_up import handler as clean_up
from shared.accounts import keys
from shared.aws import clients
from shared.batch_inference import batch_records
from shared.hosting import hosting_state
from shared.items import ModelVersion
from shared.models import versions
from shared.runs import lock, run_records, schedules
from shared.spending import ledger
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_account import Account
from tests.unit.functions.sagemaker_stand_in import Stage

RUN = "20261130-100000-aaaa"
CONFIG = "storyloom-v1-g6-xlarge-0f3c2a1b"
BATCH_MODEL = "storyloom-batch-v1-0f3c2a1b"
OF_OTHER_APPS = [
    f"{app}-v1-g6-xlarge-0f3c2a1b" for app in ("storyloom-two", "storyloom-batch", "my-storyloom")
]
Delete = Callable[..., dict[str, Any]]


class _Receiver(ThreadingHTTPServer):
    """CloudFormation's address for answers."""

    def __init__(self) -> None:
        answers = self.answers = []  # type: ignore[var-annotated]

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Stacks:
    """CloudFormation, as far as the function asks it."""

    status = "DELETE_IN_PROGRESS"

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3 names it so
        return {"Stacks": [{"StackName": StackName, "StackStatus": self.status}]}


@pytest.fixture
def account(resources: DeployedResources, stage: Stage) -> Account:
    made = Account()
    stage.enter(made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> _Stacks:
    made = _Stacks()
    monkeypatch.setattr(clients, "cloudformation", lambda: made)
    monkeypatch.setattr(clean_up, "POLL_SECONDS", 0.01)
    return made


@pytest.fixture
def receiver() -> Iterator[_Receiver]:
    server = _Receiver()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def delete(
    resources: DeployedResources,
    account: Account,
    stacks: _Stacks,
    receiver: _Receiver,
    context: LambdaContext,
) -> Delete:
    """Send the function a request of CloudFormation's; returns its answer."""

    def send(part: str = "everything", kind: str = "Delete", with_context: Any = context) -> dict[str, Any]:
        event = {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{receiver.server_address[1]}/answer",
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/Storyloom-Pipeline/1",
            "RequestId": "1",
            "LogicalResourceId": "MadeAtRunTime",
            "ResourceProperties": {"Part": part, "PageBucket": resources.artifacts},
        }
        clean_up.handler(event, with_context)
        answer: dict[str, Any] = receiver.answers.pop()
        return answer

    return send


def _fill(account: Account) -> None:
    account.endpoint = ["InService"]
    account.configs = [CONFIG, *OF_OTHER_APPS]
    account.models = [CONFIG, BATCH_MODEL, *OF_OTHER_APPS]
    account.packages = 2
    account.jobs = {
        "Training": {
            f"storyloom-train-{RUN}": "InProgress",
            f"storyloom-{RUN}-001-0a1b2c3d": "Completed",
            f"storyloom-two-train-{RUN}": "InProgress",
        },
        "HyperParameterTuning": {f"storyloom-{RUN}": "InProgress"},
        "Processing": {f"storyloom-evaluate-{RUN}": "Completed"},
        "Transform": {f"storyloom-batch-{RUN}": "InProgress"},
    }
    account.tags = {f"storyloom-{RUN}": "storyloom", f"storyloom-{RUN}-001-0a1b2c3d": "storyloom"}


def test_all_that_was_made_at_run_time_is_removed(delete: Delete, account: Account) -> None:
    _fill(account)
    answer = delete()
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "storyloom-everything")
    assert account.endpoint == []
    assert account.configs == OF_OTHER_APPS
    assert account.models == OF_OTHER_APPS
    assert account.packages == 0
    assert account.jobs == {
        "Training": {f"storyloom-two-train-{RUN}": "InProgress"},
        "HyperParameterTuning": {},
        "Processing": {},
        # SageMaker deletes no transform job.
        "Transform": {f"storyloom-batch-{RUN}": "Stopped"},
    }
    assert delete()["Status"] == "SUCCESS", "once more removes nothing more"


@pytest.mark.aws_fact
def test_configurations_outlive_the_endpoint(delete: Delete, account: Account) -> None:
    _fill(account)
    account.endpoint = ["Creating", "Creating", "InService"]
    assert delete()["Status"] == "SUCCESS"
    order = [done.partition(" ")[0] for done in account.done]
    assert order.index("DeleteEndpoint") < order.index("DeleteEndpointConfig") < order.index("DeleteModel")
    assert order.index("StopTrainingJob") < order.index("DeleteTrainingJob")


TWENTY_MINUTES_USD = pytest.approx(1.13 / 3, abs=1e-6)
"""Of one ml.g6.xlarge, for training, processing and transform alike."""


def _spent() -> dict[str, float]:
    return {entry.kind: entry.spent_usd for entry in ledger.month().entries}


@pytest.fixture
def training(account: Account) -> str:
    """A training at work, with money set aside for it."""
    name = f"storyloom-train-{RUN}"
    account.jobs = {"Training": {name: "InProgress"}}
    ledger.reserve("training", name, "ml.g6.xlarge", 4.0)
    return name


def test_what_the_stopped_jobs_have_cost_stays_in_the_months_ledger(
    delete: Delete, account: Account, training: str
) -> None:
    """The table outlives the deployment, and a job that is deleted can no longer say what it cost."""
    _fill(account)
    account.endpoint = []
    for kind, id_ in (
        ("search", f"storyloom-{RUN}"),
        ("evaluation", f"storyloom-evaluate-{RUN}"),
        ("evaluation", f"storyloom-evaluate-{RUN}-2"),  # which never began
        ("batch", RUN),
    ):
        ledger.reserve(kind, id_, "ml.g6.xlarge", 4.0)  # type: ignore[arg-type]
    for times in ("once", "and once"):
        assert delete()["Status"] == "SUCCESS"
        kinds = ("training", "search", "evaluation", "batch")
        assert _spent() == dict.fromkeys(kinds, TWENTY_MINUTES_USD), times
        assert ledger.open_reservations() == []
    assert account.jobs["Training"].keys() == {f"storyloom-two-train-{RUN}"}


def test_a_stopped_job_that_nobody_reserved_is_counted_too(delete: Delete, account: Account) -> None:
    account.jobs = {"Training": {f"storyloom-train-{RUN}": "InProgress"}}
    assert delete()["Status"] == "SUCCESS"
    assert _spent() == {"training": TWENTY_MINUTES_USD}


def test_a_job_whose_cost_cannot_be_read_has_cost_what_was_reserved(
    delete: Delete, account: Account, training: str
) -> None:
    account.denied = {"DescribeTrainingJob"}
    assert delete()["Status"] == "SUCCESS"
    assert _spent() == {"training": 4.0}


def test_a_job_is_not_deleted_before_its_cost_is_settled(
    delete: Delete, account: Account, training: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, refusals = ledger.settle, [_throttled(), _throttled()]

    def settle_at_last(*args: Any, **kwargs: Any) -> bool:
        assert training in account.jobs["Training"]
        if refusals:
            raise refusals.pop()
        return settle(*args, **kwargs)

    monkeypatch.setattr(ledger, "settle", settle_at_last)
    assert delete()["Status"] == "SUCCESS"
    assert refusals == [] and account.jobs["Training"] == {}
    assert _spent() == {"training": TWENTY_MINUTES_USD}


def _throttled() -> ClientError:
    return ClientError(
        {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "TransactWriteItems"
    )


def test_another_apps_search_is_left_alone(delete: Delete, account: Account) -> None:
    """The name of a tuning job has no room for a long name of the app: its tag tells whose it is."""
    account.jobs = {"HyperParameterTuning": {f"storyloom-{RUN}": "InProgress"}}
    account.tags = {f"storyloom-{RUN}": "storyloom-two"}
    assert delete()["Status"] == "SUCCESS"
    assert account.jobs["HyperParameterTuning"] == {f"storyloom-{RUN}": "InProgress"}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_making_and_changing_the_resource_does_nothing(delete: Delete, account: Account, kind: str) -> None:
    _fill(account)
    assert delete(kind=kind)["Status"] == "SUCCESS"
    assert account.done == []


@pytest.mark.aws_fact
@pytest.mark.parametrize(
    "status",
    [
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    ],
)
def test_an_update_removes_nothing(
    delete: Delete, account: Account, stacks: _Stacks, resources: DeployedResources, status: str
) -> None:
    """CloudFormation sends Delete also for a resource that an update replaces."""
    _fill(account)
    clients.s3().put_object(Bucket=resources.artifacts, Key="index.html", Body=b"-")
    stacks.status = status
    assert delete()["Status"] == delete("hosting")["Status"] == "SUCCESS"
    assert account.done == []
    assert clients.s3().list_objects_v2(Bucket=resources.artifacts)["KeyCount"] == 1


@pytest.mark.aws_fact
def test_a_creation_that_is_rolled_back_removes_the_pages_files_and_nothing_else(
    delete: Delete, account: Account, stacks: _Stacks, resources: DeployedResources
) -> None:
    """They would keep their bucket, and the stack could neither be deployed again nor deleted."""
    _fill(account)
    key, _ = keys.issue_key("program", ["chat"], 60, by="u1", email="u1@example.com")
    clients.s3().put_object(Bucket=resources.artifacts, Key="index.html", Body=b"-")
    stacks.status = "ROLLBACK_IN_PROGRESS"
    assert delete("everything")["Status"] == "SUCCESS"
    assert clients.s3().list_objects_v2(Bucket=resources.artifacts)["KeyCount"] == 1
    assert delete("hosting")["Status"] == "SUCCESS"
    assert clients.s3().list_objects_v2(Bucket=resources.artifacts)["KeyCount"] == 0
    assert account.done == []
    left = keys.get(key.key_id)
    assert left is not None and left.revoked_at is None


def test_what_may_not_be_removed_is_named_and_the_next_deletion_goes_on(
    delete: Delete, account: Account
) -> None:
    _fill(account)
    account.denied = {"DeleteModel", "DeleteModelPackage"}
    answer = delete()
    assert answer["Status"] == "FAILED"
    assert "models (AccessDeniedException: not authorized" in answer["Reason"]
    assert "model packages (AccessDeniedException" in answer["Reason"]
    assert "Delete the stack again" in answer["Reason"]
    assert account.endpoint == [], "what bills is gone all the same"
    account.denied = set()
    assert delete()["Status"] == "SUCCESS"
    assert account.packages == 0


class _HardlyAnyTime(LambdaContext):
    """A context whose time is nearly over."""

    def __init__(self) -> None:
        self._function_name = self._aws_request_id = "test"
        self._memory_limit_in_mb = 128
        self._invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:test"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 15_000


@pytest.mark.aws_fact
def test_an_endpoint_in_creation_is_reported_in_time(delete: Delete, account: Account) -> None:
    account.endpoint = ["Creating"]
    answer = delete(with_context=_HardlyAnyTime())
    assert answer["Status"] == "FAILED"
    assert "endpoint storyloom (it is creating, and SageMaker deletes it only afterwards)" in answer["Reason"]


def test_an_unexpected_error_has_a_response_too(
    delete: Delete, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORYLOOM_STATE_MACHINE_ARN")
    answer = delete()
    assert answer["Status"] == "FAILED"
    assert "STORYLOOM_STATE_MACHINE_ARN" in answer["Reason"]


def test_the_retained_table_has_no_record_of_deleted_resources(
    delete: Delete, account: Account, live_v1: str
) -> None:
    arn = f"{clients.stepfunctions().meta.region_name}:execution"
    lock.acquire(RUN, arn)
    run_records.create_run(RUN, arn, "stories arrived")
    batch = batch_records.create_record(
        owner="u1", created_by="u1", name="b", model="storyloom", max_tokens=1, instance="ml.g6.xlarge"
    )
    batch_records.acquire_batch_slot(batch.batch_id)
    batch_records.move(batch.batch_id, "running", {"uploading"})
    hosting_state.mark_awake("v1", CONFIG)
    _with_package(1)

    assert delete("hosting")["Status"] == "SUCCESS"
    assert versions.list_all()[0].model_package_arn is not None, "the registry is the other stack's"
    assert delete()["Status"] == "SUCCESS"

    assert lock.holder() is None
    run = run_records.get(RUN)
    assert run is not None and run.status == "failed" and "deployment was deleted" in str(run.message)
    stopped = batch_records.get(batch.batch_id)
    assert stopped is not None and stopped.status == "stopped" and batch_records.list_active_ids() == []
    assert hosting_state.state().status == "asleep"
    pointer = versions.live()
    assert pointer is not None and pointer.bundle_uri == live_v1, "the next deployment wakes it"
    assert [model.model_package_arn for model in versions.list_all()] == [None]


def test_a_table_that_its_owner_deleted_keeps_nothing(
    delete: Delete, account: Account, resources: DeployedResources
) -> None:
    _fill(account)
    account.endpoint = []
    clients.dynamodb().delete_table(TableName=resources.table)
    assert delete("hosting")["Status"] == "SUCCESS"
    assert delete()["Status"] == "SUCCESS"


def _with_package(number: int) -> None:
    model: ModelVersion = versions.list_all()[0]
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:model-package/storyloom/{number}"
    versions.save(model.model_copy(update={"model_package_arn": arn}))


def test_keys_are_revoked_with_the_people_who_made_them(delete: Delete) -> None:
    key, text = keys.issue_key("program", ["chat"], 60, by="u1", email="u1@example.com")
    assert keys.authenticate(text) is not None
    assert delete("hosting")["Status"] == "SUCCESS"
    assert keys.authenticate(text) is None
    assert keys.get(key.key_id) is not None, "it can be seen that there was one"


def test_runs_are_stopped_and_no_schedule_starts_another(
    delete: Delete, resources: DeployedResources
) -> None:
    machines = clients.stepfunctions()
    execution = machines.start_execution(stateMachineArn=resources.state_machine_arn, name=RUN)[
        "executionArn"
    ]
    schedules.debounce_run("stories arrived")
    schedules.schedule_deployment("v1", "somebody chose it")
    assert delete()["Status"] == "SUCCESS"
    assert machines.describe_execution(executionArn=execution)["status"] == "ABORTED"
    assert clients.scheduler().list_schedules(GroupName=resources.schedule_group)["Schedules"] == []


def test_only_our_streams_of_shared_logs_are_deleted(delete: Delete) -> None:
    logs, group = clients.logs(), "/aws/sagemaker/TrainingJobs"
    ours, theirs = f"storyloom-train-{RUN}/algo-1-1", f"storyloom-two-train-{RUN}/algo-1-1"
    for name in (group, "/aws/sagemaker/Endpoints/storyloom", "/aws/sagemaker/Endpoints/storyloom-two"):
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=name)
    for stream in (ours, theirs):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    assert delete()["Status"] == "SUCCESS"
    listed = logs.describe_log_streams(logGroupName=group)["logStreams"]
    streams = {stream["logStreamName"] for stream in listed}
    assert theirs in streams and ours not in streams
    left = logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints/")["logGroups"]
    assert [found["logGroupName"] for found in left] == ["/aws/sagemaker/Endpoints/storyloom-two"]
    for name in (group, "/aws/sagemaker/Endpoints/storyloom-two"):
        logs.delete_log_group(logGroupName=name)


def test_the_pages_bucket_is_emptied(delete: Delete, resources: DeployedResources) -> None:
    """The artifacts bucket stands for it here; the clean-up is told its name."""
    for key in ("index.html", "assets/page.js"):
        clients.s3().put_object(Bucket=resources.artifacts, Key=key, Body=b"-")
    assert delete("hosting")["Status"] == "SUCCESS"
    assert clients.s3().list_objects_v2(Bucket=resources.artifacts)["KeyCount"] == 0
    clients.s3().delete_bucket(Bucket=resources.artifacts)
    assert delete("hosting")["Status"] == "SUCCESS", "the bucket may be gone already"
