"""The pipeline's definition: the order of its states, and where every failure goes.

It is written in Amazon States Language itself, so that the console, the documentation and this code use the
same names. docs/contracts.md lists each state's input and result. The states of the middle are in files of
their own: `reading_states`, `preparation_states` and `job_states`.
"""

from collections.abc import Mapping
from typing import Any

from contracts import statuses
from contracts.settings import Settings
from stacks.functions.function import Function
from stacks.pipeline.job_states import job_states, longest_training_wait
from stacks.pipeline.preparation_states import APPROVAL_SECONDS, preparation_states
from stacks.pipeline.reading_states import reading_states
from stacks.pipeline.states import RUN, FunctionTasks, State, catch_all, choice, choice_of, ending

RESUMABLE = ("ChooseBest", "Evaluate", "Gate", "Register", "Deploy")
"""States at which a failed run can resume, beside `Preflight`."""

_ENDPOINT_POLL_SECONDS = 5
_OVERHEAD_SECONDS = 12 * 60 * 60  # a run without the wait for approval and the training


def pipeline_definition(
    settings: Settings, functions: Mapping[str, Function], job_role_arn: str, training_image: str
) -> dict[str, Any]:
    """Return the whole definition.

    Args:
        settings: of the app.
        functions: by name; those of `FUNCTION_SECONDS`.
        job_role_arn: role of the SageMaker jobs.
        training_image: container of the jobs.
    """
    tasks = FunctionTasks(functions)
    begin = {
        **RUN,
        "reason.$": "$.reason",
        "execution_arn.$": "$$.Execution.Id",
        # Whole, because a path that only some executions have in their input would fail the others.
        "input.$": "$$.Execution.Input",
    }
    return {
        "Comment": "From stories to a chat",
        "StartAt": "Entry",
        # Here and not as a property of the construct, which puts it only into definitions that it wrote.
        "TimeoutSeconds": APPROVAL_SECONDS + longest_training_wait(settings) + _OVERHEAD_SECONDS,
        "States": {
            **_entry_states(tasks, begin),
            **reading_states(tasks, begin),
            **preparation_states(tasks),
            **job_states(tasks, settings, job_role_arn, training_image),
            **_version_states(tasks),
            **_last_states(tasks),
        },
    }


def _entry_states(tasks: FunctionTasks, begin: dict[str, Any]) -> dict[str, State]:
    """Return the states that tell a new run from one that resumes and one that activates a version."""
    return {
        # A run that is started with a version trains nothing: it deploys this version, as every run does.
        # One that failed and resumes has the results of the states before the one that failed.
        "Entry": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.resume", "IsPresent": True, "Next": "Resume"},
                {"Variable": "$.version", "IsPresent": True, "Next": "Activate"},
            ],
            "Default": "Begin",
        },
        "Resume": tasks.call("resume", {**begin, "state.$": "$.resume.state"}, None, "ResumeAt"),
        "ResumeAt": choice_of("$.resume.state", {state: state for state in RESUMABLE}, default="Preflight"),
        "Activate": tasks.call(
            "activate", {**begin, "version.$": "$.version"}, "$.registered", "IsPreloaded"
        ),
        "IsPreloaded": choice(
            {"Variable": "$.registered.preloaded", "BooleanEquals": True}, "Succeeded", "Deploy"
        ),
    }


def _version_states(tasks: FunctionTasks) -> dict[str, State]:
    """Return the states that judge, register and deploy a version: from `Gate` to `CollectGarbage`."""
    version = {
        **RUN,
        "gate.$": "$.gate",
        "training_job.$": "$.assembled.jobs.training_job_name",
        "stories.$": "$.assembled.stories",
        "words.$": "$.assembled.words",
    }
    return {
        "Gate": tasks.call("gate", {**RUN, "jobs.$": "$.assembled.jobs"}, "$.gate", "Register"),
        "Register": tasks.call("register", version, "$.registered", "WorthDeploying"),
        "WorthDeploying": choice_of(
            "$.registered.status",
            {statuses.APPROVED: "Deploy", statuses.PENDING: "PendingApproval"},
            default="NotBetter",
        ),
        "NotBetter": ending(statuses.NOT_BETTER, {"message.$": "$.registered.message"}),
        "PendingApproval": ending(statuses.PENDING_APPROVAL, {"message.$": "$.registered.message"}),
        "Deploy": tasks.call(
            "deploy", {**RUN, "version.$": "$.registered.version"}, "$.deployment", "WaitForEndpoint"
        ),
        "WaitForEndpoint": {"Type": "Wait", "Seconds": _ENDPOINT_POLL_SECONDS, "Next": "SmokeTest"},
        "SmokeTest": tasks.call("smoke_test", {**RUN, "deployment.$": "$.deployment"}, "$.smoke", "Deployed"),
        "Deployed": choice(
            {"Variable": "$.smoke.status", "StringEquals": statuses.PASSED},
            "CollectGarbage",
            "WaitForEndpoint",
        ),
        # The version is in service: what cannot be deleted now is deleted after the next run.
        "CollectGarbage": {
            **tasks.call("collect_garbage", RUN, "$.garbage", "Succeeded"),
            "Catch": catch_all("$.garbage", "Succeeded"),
        },
    }


def _last_states(tasks: FunctionTasks) -> dict[str, State]:
    """Return the states that record the end of a run and send the message about it."""
    announce = tasks.call(
        "announce",
        {**RUN, "outcome.$": "$.ending.outcome", "message.$": "$.ending.message"},
        "$.announced",
        "",
    )
    del announce["Next"]
    return {
        "Succeeded": ending(statuses.SUCCEEDED, {"message.$": "$.registered.message"}),
        "Announce": {**announce, "End": True},
        "RecordFailure": {
            **tasks.call("record_failure", {**RUN, "failure.$": "$.failure"}, None, "Failed"),
            # If recording fails too, the execution must still end with the error that came first.
            "Catch": catch_all(None, "Failed"),
        },
        "Failed": {"Type": "Fail", "ErrorPath": "$.failure.Error", "CausePath": "$.failure.Cause"},
    }
