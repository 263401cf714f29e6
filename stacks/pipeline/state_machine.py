"""The pipeline's states: what follows what, what is retried, and where every failure goes.

The page of contracts lists each state's input and result. The definition is written in Amazon States
Language itself, so that the console, the documentation and this file show the same words.
"""

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from contracts.settings import Settings
from stacks.accepted_findings import LOG_GROUP, accept_findings
from stacks.functions.functions import LOG_RETENTION, Function
from stacks.permissions import acknowledge, allow, arn, may_pass, service_principal
from stacks.pipeline.approval import APPROVAL_SECONDS, approval_states
from stacks.pipeline.reading_states import read_state
from stacks.pipeline.sagemaker_jobs import (
    evaluate_state,
    job_limits,
    longest_training_wait,
    train_state,
    tune_state,
)
from stacks.pipeline.state_functions import FUNCTION_SECONDS
from stacks.pipeline.states import choice, ending
from stacks.references import Storage
from stories.format_list import usual_endings

_MINUTE = 60
_ENDPOINT_POLL_SECONDS = 5
_NO_STORIES = (
    "The bucket has no stories yet, so nothing was trained and nothing was spent on a GPU. "
    f"Drop {usual_endings()} files into it: a run starts by itself."
)

# What Lambda answers while it is busy or changing; the function has not run then, or may run again.
_RETRY_LAMBDA = [
    {
        "ErrorEquals": [
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 6,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    },
    # A new account may run ten functions at once: a batch then waits until those before it are read. Half a
    # minute on average between attempts is enough for the longest batches, ten at a time.
    {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 2,
        "MaxAttempts": 500,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "JitterStrategy": "FULL",
    },
]
_CATCH = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "RecordFailure"}]
# Errors of a job that failed, and of SageMaker when it refuses one.
_JOB_FAILED = [
    "States.TaskFailed",
    "SageMaker.ResourceLimitExceededException",
    "SageMaker.AmazonSageMakerException",
]
# States at which a run that failed can go on, beside the first of them.
RESUMABLE = ("ChooseBest", "Evaluate", "Gate", "Register", "Deploy")

_OVERHEAD_SECONDS = 12 * 60 * _MINUTE  # a run without the wait for approval and the training
_WAITING_SECONDS = 60  # for Lambda to begin, on top


def definition(
    settings: Settings, functions: Mapping[str, Function], job_role_arn: str, training_image: str
) -> dict[str, Any]:
    """Write the whole definition.

    Args:
        settings: of the app.
        functions: by name; those of `FUNCTION_SECONDS`.
        job_role_arn: role of the SageMaker jobs.
        training_image: container of both jobs.
    """

    def call(function: str, payload: dict[str, Any], result_path: str | None, then: str) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": functions[function].arn,
            "Parameters": payload,
            "ResultPath": result_path,
            "TimeoutSeconds": FUNCTION_SECONDS[function] + _WAITING_SECONDS,
            "Retry": _RETRY_LAMBDA,
            "Catch": _CATCH,
            "Next": then,
        }

    run = {"run_id.$": "$.run_id"}
    begin = {
        **run,
        "reason.$": "$.reason",
        "execution_arn.$": "$$.Execution.Id",
        # Whole, because a path to what only some runs are started with would fail the others.
        "input.$": "$$.Execution.Input",
    }
    register = {
        **run,
        "gate.$": "$.gate",
        "training_job.$": "$.assembled.jobs.training_job_name",
        "stories.$": "$.assembled.stories",
        "words.$": "$.assembled.words",
    }
    states = {
        # A run that is started with a version trains nothing: it deploys what there is, as every run does.
        # One that failed and is resumed has the results of the states before the one that failed.
        "Entry": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.resume", "IsPresent": True, "Next": "Resume"},
                {"Variable": "$.version", "IsPresent": True, "Next": "Activate"},
            ],
            "Default": "Begin",
        },
        "Resume": call("resume", {**begin, "state.$": "$.resume.state"}, None, "ResumeAt"),
        "ResumeAt": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.resume.state", "StringEquals": state, "Next": state} for state in RESUMABLE
            ],
            "Default": "Preflight",
        },
        "Activate": call("activate", {**begin, "version.$": "$.version"}, "$.registered", "AtHand"),
        "AtHand": choice({"Variable": "$.registered.at_hand", "BooleanEquals": True}, "Succeeded", "Deploy"),
        "Begin": call("begin", {**begin, "input.$": "$"}, "$.begun", "AnyStories"),
        "AnyStories": choice({"Variable": "$.begun.files", "NumericGreaterThan": 0}, "Read", "NoStories"),
        "NoStories": {
            "Type": "Pass",
            "Result": {"message": _NO_STORIES},
            "ResultPath": "$.assembled",
            "Next": "StopEarly",
        },
        "Read": {**read(functions["read_stories"].arn), "Catch": _CATCH, "Next": "Assemble"},
        "Assemble": call("assemble", {**run, "begun.$": "$.begun"}, "$.assembled", "EnoughText"),
        "EnoughText": choice(
            {"Variable": "$.assembled.enough", "BooleanEquals": True}, "Preflight", "StopEarly"
        ),
        # Before anybody is asked, and before a machine is paid for.
        "Preflight": call(
            "preflight", {**run, "estimate.$": "$.assembled.estimate"}, "$.preflight", "MayHaveAll"
        ),
        "MayHaveAll": choice(
            {"Variable": "$.preflight.enough", "BooleanEquals": True}, "TrainAtOnce", "QuotasTooLow"
        ),
        "QuotasTooLow": ending("stopped_early", {"message.$": "$.preflight.message"}),
        "StopEarly": ending("stopped_early", {"message.$": "$.assembled.message"}),
        **approval_states(
            functions["ask_approval"], then="StageBaseModel", retry=_RETRY_LAMBDA, catch=_CATCH
        ),
        "StageBaseModel": call(
            "stage_base_model",
            {**run, "training_job.$": "$.assembled.jobs.training_job_name"},
            "$.staged",
            "Staged",
        ),
        "Staged": choice({"Variable": "$.staged.done", "BooleanEquals": True}, "Reserve", "StageBaseModel"),
        # The last state before a machine is paid for: a question may have waited for days before it.
        "Reserve": call(
            "reserve",
            {
                **run,
                "jobs.$": "$.assembled.jobs",
                "tune.$": "$.assembled.tune",
                "estimate.$": "$.assembled.estimate",
            },
            "$.assembled.jobs",
            "Reserved",
        ),
        "Reserved": choice(
            {"Variable": "$.assembled.jobs.reserved", "BooleanEquals": True}, "TrainOnce", "NoMoney"
        ),
        "NoMoney": ending("stopped_early", {"message.$": "$.assembled.jobs.refusal"}),
        # One machine serves both settings: Assemble says whether there is money for a search.
        "TrainOnce": choice({"Variable": "$.assembled.tune", "BooleanEquals": False}, "Train", "Tune"),
        "Tune": {**tune_state(settings, job_role_arn, training_image), "Catch": _CATCH, "Next": "ChooseBest"},
        "ChooseBest": call(
            "choose_best",
            {**run, "jobs.$": "$.assembled.jobs", "tuned.$": "$.trained"},
            "$.assembled.jobs",
            "Evaluate",
        ),
        "Train": {
            **train_state(settings, job_role_arn, training_image),
            "Catch": _or_again("TrainAgain"),
            "Next": "Evaluate",
        },
        "Evaluate": {
            **evaluate_state(settings, job_role_arn, training_image),
            "Catch": _or_again("EvaluateAgain"),
            "Next": "Gate",
        },
        **{
            f"{step}Again": call(
                "next_attempt",
                {**run, "step": step, "jobs.$": "$.assembled.jobs", "failure.$": "$.failure"},
                "$.assembled.jobs",
                "BeforeNextAttempt",
            )
            for step in ("Train", "Evaluate")
        },
        "BeforeNextAttempt": {
            "Type": "Wait",
            "SecondsPath": "$.assembled.jobs.wait_seconds",
            "Next": "NextAttempt",
        },
        "NextAttempt": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.assembled.jobs.again", "StringEquals": step, "Next": step}
                for step in ("Train", "Evaluate")
            ],
            "Default": "RecordFailure",
        },
        "Gate": call("gate", {**run, "jobs.$": "$.assembled.jobs"}, "$.gate", "Register"),
        "Register": call("register", register, "$.registered", "WorthDeploying"),
        "WorthDeploying": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.registered.status", "StringEquals": status, "Next": state}
                for status, state in (("approved", "Deploy"), ("pending", "PendingApproval"))
            ],
            "Default": "NotBetter",
        },
        "NotBetter": ending("not_better", {"message.$": "$.registered.message"}),
        "PendingApproval": ending("pending_approval", {"message.$": "$.registered.message"}),
        "Deploy": call(
            "deploy", {**run, "version.$": "$.registered.version"}, "$.deployment", "WaitForEndpoint"
        ),
        "WaitForEndpoint": {"Type": "Wait", "Seconds": _ENDPOINT_POLL_SECONDS, "Next": "SmokeTest"},
        "SmokeTest": call("smoke_test", {**run, "deployment.$": "$.deployment"}, "$.smoke", "Deployed"),
        "Deployed": choice(
            {"Variable": "$.smoke.status", "StringEquals": "passed"}, "CollectGarbage", "WaitForEndpoint"
        ),
        # The version answers: what cannot be deleted now is deleted after the next.
        "CollectGarbage": {
            **call("collect_garbage", run, "$.garbage", "Succeeded"),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.garbage", "Next": "Succeeded"}],
        },
        "Succeeded": ending("succeeded", {"message.$": "$.registered.message"}),
        "Announce": _last(
            call(
                "announce",
                {**run, "outcome.$": "$.ending.outcome", "message.$": "$.ending.message"},
                "$.announced",
                "",
            )
        ),
        "RecordFailure": {
            **call("record_failure", {**run, "failure.$": "$.failure"}, None, "Failed"),
            # Recording it failed too: the execution must still end with the error that came first.
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Failed"}],
        },
        "Failed": {"Type": "Fail", "ErrorPath": "$.failure.Error", "CausePath": "$.failure.Cause"},
    }
    return {
        "Comment": "From stories to a chat",
        "StartAt": "Entry",
        # Here and not as a property of the construct, which puts it only into definitions that it wrote.
        "TimeoutSeconds": APPROVAL_SECONDS + longest_training_wait(settings) + _OVERHEAD_SECONDS,
        "States": states,
    }


class Pipeline(Construct):
    """The state machine with its role, its log and its permissions."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, storage: Storage, job_role: iam.Role
    ) -> None:
        """Prepare the state machine's role and name; `define` makes the machine itself.

        The functions that start or watch executions need the machine's ARN while the machine needs theirs, so
        its name is made here and not by CloudFormation.
        """
        super().__init__(scope, id_)
        self._settings, self._storage, self._job_role = settings, storage, job_role
        self._name = f"{Stack.of(self).stack_name}-{self.node.addr[-8:]}"
        self.arn = arn("states", f"stateMachine:{self._name}")
        self.executions_arn = arn("states", f"execution:{self._name}:*")
        self._role = iam.Role(self, "Role", assumed_by=service_principal("states.amazonaws.com"))

    def define(self, functions: Mapping[str, Function], training_image: str) -> sfn.StateMachine:
        """Make the state machine."""
        self._allow_its_tasks(functions)
        states = definition(self._settings, functions, self._job_role.role_arn, training_image)
        log_group = logs.LogGroup(
            self,
            "Log",
            # Step Functions needs this prefix: without it the log's resource policy grows too long.
            log_group_name=f"/aws/vendedlogs/states/{self._name}",
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept_findings(log_group, LOG_GROUP)
        machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=self._name,
            definition_body=sfn.DefinitionBody.from_string(json.dumps(states)),
            role=self._role,
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group,
                level=sfn.LogLevel.ALL,
                include_execution_data=False,  # states carry messages and names of the writer's files
            ),
        )
        acknowledge(
            self._role,
            "AwsSolutions-IAM5[Resource::*]",
            "log delivery and X-Ray have no ARNs to name; the CDK adds these statements for both",
        )
        return machine

    def answered_by(self, function: Function) -> None:
        """Let a function answer a task that waits with its token.

        IAM's reference lists no resource for this action, but Step Functions does check it against the state
        machine of the token's task; that is also what the CDK's `grant_task_response` names.
        """
        allow(function.role, ["states:SendTaskSuccess"], [self.arn])

    def grant_read_history(self, function: Function) -> None:
        """Let a function read what a run has been through, to take it up again where it failed."""
        allow(
            function.role,
            ["states:GetExecutionHistory"],
            [self.executions_arn],
            wildcard_because="an execution is named by its run",
        )

    def explained_to(self, function: Function) -> None:
        """Let a function read why a batch of the Distributed Map failed."""
        allow(
            function.role,
            ["states:ListMapRuns", "states:ListExecutions", "states:DescribeExecution"],
            [
                self.executions_arn,
                arn("states", f"mapRun:{self._name}/*"),
                arn("states", f"execution:{self._name}/*"),
            ],
            wildcard_because="the Distributed Map's runs and children are named at run time",
        )

    def searches_seen_by(self, function: Function) -> None:
        """Let a function read how the trials of a search are doing."""
        allow(
            function.role,
            [
                "sagemaker:DescribeHyperParameterTuningJob",
                "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
            ],
            [arn("sagemaker", self._searches)],
            wildcard_because="a tuning job is named by its run",
        )

    def bills_seen_by(self, function: Function) -> None:
        """Let a function read for how long the jobs of runs are billed, and find those nobody reserved."""
        name = self._settings.name
        self.searches_seen_by(function)
        for kind, jobs in (
            (
                "Training",
                [f"training-job/{name}-train-*", f"training-job/{self._settings.tuning_job_prefix}*"],
            ),
            ("Processing", [f"processing-job/{name}-evaluate-*"]),
        ):
            allow(
                function.role,
                [f"sagemaker:Describe{kind}Job"],
                [arn("sagemaker", job) for job in jobs],
                wildcard_because="a job is named by its run, and a trial by its search",
            )
        allow(
            function.role,
            ["sagemaker:ListTrainingJobs", "sagemaker:ListProcessingJobs"],
            ["*"],
            wildcard_because="SageMaker lists the jobs of an account or none; the list has names and times",
        )

    @property
    def _searches(self) -> str:
        """The tuning jobs."""
        return f"hyper-parameter-tuning-job/{self._settings.tuning_job_prefix}*"

    def _allow_its_tasks(self, functions: Mapping[str, Function]) -> None:
        name, role = self._settings.name, self._role
        allow(role, ["lambda:InvokeFunction"], [functions[function].arn for function in FUNCTION_SECONDS])
        for kind, jobs in (
            ("Training", f"training-job/{name}-train-*"),
            ("HyperParameterTuning", self._searches),
            ("Processing", f"processing-job/{name}-evaluate-*"),
        ):
            because = "a job is named by its run, which does not exist yet"
            allow(
                role,
                [f"sagemaker:Create{kind}Job"],
                [arn("sagemaker", jobs)],
                wildcard_because=because,
                conditions=job_limits(self._settings, kind),
            )
            allow(
                role,
                [
                    *(f"sagemaker:{verb}{kind}Job" for verb in ("Describe", "Stop")),
                    "sagemaker:AddTags",
                    "sagemaker:ListTags",
                ],
                [arn("sagemaker", jobs)],
                wildcard_because=because,
            )
        # `.sync` learns of a job's end through these rules, which Step Functions makes itself.
        rules = [
            f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule"
            for kind in ("Training", "Tuning", "Processing")
        ]
        allow(
            role,
            ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            [arn("events", rule) for rule in rules],
        )
        may_pass(role, self._job_role.role_arn, "sagemaker.amazonaws.com")
        allow(
            role,
            ["s3:GetObject"],
            [self._storage.artifacts("runs/*/batches.jsonl")],
            wildcard_because="the list of batches lies below its run's id",
        )
        allow(
            role,
            ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
            [self._storage.artifacts("runs/*/read-results/*")],
            wildcard_because="the results of the Distributed Map lie below their run's id and the map run's",
        )
        # The Distributed Map starts its children as executions of this same machine.
        allow(role, ["states:StartExecution"], [self.arn])
        allow(
            role,
            ["states:DescribeExecution", "states:StopExecution"],
            [self.executions_arn, arn("states", f"execution:{self._name}/*")],
            wildcard_because="the children of the Distributed Map are named at run time",
        )


def read(reader_arn: str) -> dict[str, Any]:
    """State `Read`, which reads the batches of a run.

    Args:
        reader_arn: of the function that reads one batch.
    """
    return read_state(reader_arn, FUNCTION_SECONDS["read_stories"] + _WAITING_SECONDS, _RETRY_LAMBDA)


def _or_again(state: str) -> list[dict[str, Any]]:
    """Catch a job's failure in a state that decides whether it is tried again."""
    return [{"ErrorEquals": _JOB_FAILED, "ResultPath": "$.failure", "Next": state}, *_CATCH]


def _last(state: dict[str, Any]) -> dict[str, Any]:
    """End the execution after this state."""
    return {key: value for key, value in state.items() if key != "Next"} | {"End": True}
