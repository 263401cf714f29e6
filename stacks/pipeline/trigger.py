"""Triggers of the pipeline: stories arrive, the bucket becomes quiet, and exactly one run starts."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from contracts.environment import Schedule, StateMachine
from contracts.resource_names import DEPLOY_SCHEDULE, UPLOADS_SCHEDULE
from contracts.settings import Settings
from stacks.functions.function import Function
from stacks.permissions import allow, arn, grant_pass_role, service_principal
from stacks.references import Storage


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
        grant_pass_role(function.role, self._role.role_arn, "scheduler.amazonaws.com")
        self._configure(function)

    def grant_delete(self, function: Function) -> None:
        """Allow a function to delete the schedules."""
        allow(function.role, ["scheduler:DeleteSchedule"], self._schedules)
        self._configure(function)

    @property
    def group(self) -> scheduler.CfnScheduleGroup:
        """The group of the schedules; deleting it deletes them too."""
        return self._group

    @property
    def _schedules(self) -> list[str]:
        names = (UPLOADS_SCHEDULE, DEPLOY_SCHEDULE)
        return [arn("scheduler", f"schedule/{self._group.ref}/{name}") for name in names]

    def _configure(self, function: Function) -> None:
        group = Schedule.from_settings(
            self._settings,
            start_run_arn=self._start_run.arn,
            schedule_name=UPLOADS_SCHEDULE,
            deploy_schedule_name=DEPLOY_SCHEDULE,
            schedule_group=self._group.ref,
            schedule_role_arn=self._role.role_arn,
        )
        function.configure(group)


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
    function.configure(StateMachine(state_machine_arn=machine_arn))
