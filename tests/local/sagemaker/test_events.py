"""Object, rule, function; schedule, role, function: as on AWS, and not without permission."""

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.sagemaker.conftest import Aws, until

pytestmark = pytest.mark.cloud

# Says what it was called with, and how many of it are at work at once.
KEEP = """
import json, os, time, boto3


def handler(event, context):
    time.sleep(0.2)
    body = json.dumps({"event": event, "process": os.getpid()}).encode()
    key = f"calls/{context.aws_request_id}"
    boto3.client("s3").put_object(Bucket=os.environ["BUCKET"], Key=key, Body=body)
"""


class Function:
    """A function that notes its calls in a bucket of its own."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.name = f"keep-{uuid4().hex[:8]}"
        self.bucket = f"{self.name}-calls"
        self.arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"
        aws.client("s3").create_bucket(Bucket=self.bucket)
        bundle = io.BytesIO()
        with zipfile.ZipFile(bundle, "w") as archive:
            archive.writestr("keep.py", KEEP)
        functions = aws.client("lambda")
        functions.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Timeout=30,
            Role=aws.role("lambda.amazonaws.com", {"s3:PutObject": "*", "logs:*": "*"}),
            Handler="keep.handler",
            Code={"ZipFile": bundle.getvalue()},
            Environment={"Variables": {"BUCKET": self.bucket}},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=self.name)

    def calls(self) -> list[dict[str, Any]]:
        """Return the events of its calls so far."""
        s3 = self.aws.client("s3")
        listed = s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        bodies = [s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read() for item in listed]
        return [json.loads(body) for body in bodies]


@pytest.fixture
def function(aws: Aws) -> Function:
    """Return a new function."""
    return Function(aws)


def test_forty_objects_are_forty_calls_in_two_processes(aws: Aws, function: Function) -> None:
    bucket, rule = _bucket_with_rule(aws, function)
    _permit(aws, function, rule)
    for number in range(40):
        aws.client("s3").put_object(Bucket=bucket, Key=f"story {number}.txt", Body="once")
    seen = until(lambda: {"calls": function.calls()}, lambda look: len(look["calls"]) == 40)

    keys = {call["event"]["detail"]["object"]["key"] for call in seen["calls"]}
    assert len(keys) == 40
    assert len({call["process"] for call in seen["calls"]}) <= 2


def test_a_rule_without_the_functions_permission_does_not_call_it(aws: Aws, function: Function) -> None:
    bucket, rule = _bucket_with_rule(aws, function)
    other_bucket, other_rule = _bucket_with_rule(aws, function)
    _permit(aws, function, other_rule)
    aws.client("s3").put_object(Bucket=bucket, Key="unheard.txt", Body="once")
    # events keep their order: when the next one has come, the first was refused before it was allowed
    aws.client("s3").put_object(Bucket=other_bucket, Key="next.txt", Body="once")
    until(lambda: {"calls": function.calls()}, lambda look: bool(look["calls"]))
    _permit(aws, function, rule)
    aws.client("s3").put_object(Bucket=bucket, Key="heard.txt", Body="once")
    seen = until(lambda: {"calls": function.calls()}, lambda look: len(look["calls"]) > 1)

    keys = [call["event"]["detail"]["object"]["key"] for call in seen["calls"]]
    assert sorted(keys) == ["heard.txt", "next.txt"]


def test_a_schedule_that_is_moved_calls_once_at_its_last_time(aws: Aws, function: Function) -> None:
    schedules = aws.client("scheduler")
    group = f"group-{uuid4().hex[:8]}"
    schedules.create_schedule_group(Name=group)
    role = aws.role("scheduler.amazonaws.com", {"lambda:InvokeFunction": function.arn})
    started = datetime.now(UTC)
    schedules.create_schedule(**_schedule(group, role, function, started + timedelta(seconds=3)))
    due = started + timedelta(seconds=6)
    schedules.update_schedule(**_schedule(group, role, function, due))
    seen = until(lambda: {"calls": function.calls()}, lambda look: bool(look["calls"]))

    assert datetime.now(UTC) >= due.replace(microsecond=0)
    assert [call["event"] for call in seen["calls"]] == [{"due": due.isoformat()}]
    assert schedules.list_schedules(GroupName=group)["Schedules"] == []


@pytest.mark.parametrize(
    ("service", "caller", "message"),
    [
        (
            "scheduler.amazonaws.com",
            {"scheduler:CreateSchedule": "GROUP"},
            "not authorized to perform: iam:PassRole",
        ),
        ("scheduler.amazonaws.com", {"iam:PassRole": "*"}, "scheduler:CreateSchedule"),
        (
            "scheduler.amazonaws.com",
            {
                "iam:PassRole": "*",
                "scheduler:CreateSchedule": f"arn:aws:scheduler:*:{ACCOUNT}:schedule/default/*",
            },
            "scheduler:CreateSchedule",
        ),
        (
            "lambda.amazonaws.com",
            {"iam:PassRole": "*", "scheduler:CreateSchedule": "GROUP"},
            "must allow AWS EventBridge Scheduler to assume the role",
        ),
    ],
    ids=["without passing the role", "without the action", "in another group", "a role of another service"],
)
def test_a_schedule_needs_its_permissions(
    aws: Aws, function: Function, service: str, caller: dict[str, str], message: str
) -> None:
    group = f"group-{uuid4().hex[:8]}"
    aws.client("scheduler").create_schedule_group(Name=group)
    role = aws.role(service, {"lambda:InvokeFunction": function.arn})
    in_group = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{group}/*"
    allowed = {action: in_group if on == "GROUP" else on for action, on in caller.items()}
    with pytest.raises(ClientError, match=message):
        aws.user("scheduler", allowed).create_schedule(
            **_schedule(group, role, function, datetime.now(UTC) + timedelta(hours=1))
        )


def test_a_schedule_whose_role_may_not_call_does_not(aws: Aws, function: Function) -> None:
    schedules = aws.client("scheduler")
    group = f"group-{uuid4().hex[:8]}"
    schedules.create_schedule_group(Name=group)
    role = aws.role("scheduler.amazonaws.com", {"lambda:InvokeFunction": "arn:aws:lambda:*:*:function:other"})
    schedules.create_schedule(**_schedule(group, role, function, datetime.now(UTC) + timedelta(seconds=1)))
    until(
        lambda: {"schedules": schedules.list_schedules(GroupName=group)["Schedules"]},
        lambda seen: seen["schedules"] == [],  # it has fired
    )
    assert function.calls() == []


def _bucket_with_rule(aws: Aws, function: Function) -> tuple[str, str]:
    bucket = f"stories-{uuid4().hex[:8]}"
    s3, events = aws.client("s3"), aws.client("events")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [bucket]}},
    }
    rule = events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))["RuleArn"]
    events.put_targets(Rule=bucket, Targets=[{"Id": "function", "Arn": function.arn}])
    return bucket, rule


def _permit(aws: Aws, function: Function, rule: str) -> None:
    aws.client("lambda").add_permission(
        FunctionName=function.name,
        StatementId=rule.rpartition("/")[2],
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )


def _schedule(group: str, role: str, function: Function, due: datetime) -> dict[str, Any]:
    return {
        "Name": "quiet",
        "GroupName": group,
        "ScheduleExpression": f"at({due:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": {"Arn": function.arn, "RoleArn": role, "Input": json.dumps({"due": due.isoformat()})},
    }
