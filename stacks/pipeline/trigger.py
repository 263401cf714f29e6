"""Triggers of the pipeline: stories arrive, the bucket becomes quiet, and exactly one run starts."""

from collections.abc import Mapping

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from contracts.settings import Settings
from stacks.functions.functions import Function
from stacks.permissions import allow, arn, may_pass, service_principal
from stacks.references import Storage

_SCHEDULE_NAME = "quiet"
_DEPLOY_SCHEDULE_NAME = "deploy"


class QuietPeriod(Construct):
    """The one-time schedules of the next run, which each new story postpones, and of a waiting deployment.

    The schedules are created at run time. This construct has their group, their role, and the permissions to
    change them.
    """

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, start_run: Function) -> None:
        """Create the group, and the role that invokes `start_run`."""
        super().__init__(scope, id_)
        self._settings = settings
        self._start_run = start_run
        self._group = scheduler.CfnScheduleGroup(self, "Group")
        self._role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("scheduler.amazonaws.com"),
        )
        allow(self._role, ["lambda:InvokeFunction"], [start_run.arn])

    def grant_schedule(self, function: Function) -> None:
        """Allow a function to create and postpone the schedules, and set its variables for it."""
        actions = ["scheduler:CreateSchedule", "scheduler:UpdateSchedule"]
        allow(function.role, actions, self._schedules)
        may_pass(function.role, self._role.role_arn, "scheduler.amazonaws.com")
        self._describe_to(function)

    def grant_delete(self, function: Function) -> None:
        """Allow a function to delete the schedules."""
        allow(function.role, ["scheduler:DeleteSchedule"], self._schedules)
        self._describe_to(function)

    @property
    def group(self) -> scheduler.CfnScheduleGroup:
        """The group of the schedules; deleting it deletes them too."""
        return self._group

    @property
    def _schedules(self) -> list[str]:
        names = (_SCHEDULE_NAME, _DEPLOY_SCHEDULE_NAME)
        return [arn("scheduler", f"schedule/{self._group.ref}/{name}") for name in names]

    def _describe_to(self, function: Function) -> None:
        variables: Mapping[str, str] = {
            "STORYLOOM_START_RUN_ARN": self._start_run.arn,
            "STORYLOOM_SCHEDULE_NAME": _SCHEDULE_NAME,
            "STORYLOOM_DEPLOY_SCHEDULE_NAME": _DEPLOY_SCHEDULE_NAME,
            "STORYLOOM_SCHEDULE_GROUP": self._group.ref,
            "STORYLOOM_SCHEDULE_ROLE_ARN": self._role.role_arn,
            "STORYLOOM_QUIET_SECONDS": str(self._settings.quiet_seconds),
            "STORYLOOM_MAX_QUIET_SECONDS": str(self._settings.max_quiet_seconds),
        }
        for name, value in variables.items():
            function.function.add_environment(name, value)


def on_new_story(scope: Construct, storage: Storage, debounce_uploads: Function) -> events.Rule:
    """Invoke a function for each object that arrives in the stories bucket."""
    return events.Rule(
        scope,
        "StoryArrived",
        description="Storyloom: a story arrived",
        event_pattern=events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={"bucket": {"name": [storage.stories_bucket]}},
        ),
        targets=[targets.LambdaFunction(debounce_uploads.function)],
    )


def on_decision(scope: Construct, model_package_group: str, on_version_reviewed: Function) -> events.Rule:
    """Invoke a function when a version is approved or rejected, in the page or in the registry."""
    return events.Rule(
        scope,
        "DecisionHeard",
        description="Storyloom: a version was approved or rejected",
        event_pattern=events.EventPattern(
            source=["aws.sagemaker"],
            detail_type=["SageMaker Model Package State Change"],
            detail={
                "ModelPackageGroupName": [model_package_group],
                "ModelApprovalStatus": ["Approved", "Rejected"],
            },
        ),
        targets=[targets.LambdaFunction(on_version_reviewed.function)],
    )


def on_unrecorded_end(scope: Construct, machine_arn: str, record_failure: Function) -> events.Rule:
    """Record the ends that no state can catch.

    The run was stopped, reached its time limit, or could not record its failure itself.
    """
    return events.Rule(
        scope,
        "RunCutOff",
        description="Storyloom: a run was stopped, timed out or failed",
        event_pattern=events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [machine_arn], "status": ["ABORTED", "FAILED", "TIMED_OUT"]},
        ),
        targets=[targets.LambdaFunction(record_failure.function)],
    )


def grant_start_runs(function: Function, machine_arn: str, executions_arn: str) -> None:
    """Allow `start_run` to start executions and to see whether one is in progress."""
    allow(function.role, ["states:StartExecution"], [machine_arn])
    allow(
        function.role,
        ["states:DescribeExecution"],
        [executions_arn],
        wildcard_because="an execution is named by its run",
    )
    function.function.add_environment("STORYLOOM_STATE_MACHINE_ARN", machine_arn)
