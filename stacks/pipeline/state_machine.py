"""The state machine as a construct, with its role, its log and its permissions."""

import json
from collections.abc import Mapping

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from contracts import s3_keys
from contracts.resource_names import STATE_MACHINE_LOGS
from contracts.s3_keys import below
from contracts.settings import Settings
from stacks.accepted_findings import LOG_GROUP, accept_findings
from stacks.functions.function import LOG_RETENTION, Function
from stacks.permissions import acknowledge, allow, arn, grant_pass_role, service_principal
from stacks.pipeline.definition import pipeline_definition
from stacks.pipeline.job_states import job_limits
from stacks.pipeline.state_functions import FUNCTION_SECONDS
from stacks.references import Storage


class Pipeline(Construct):
    """The state machine with its role, its log and its permissions."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, storage: Storage, job_role: iam.Role
    ) -> None:
        """Create the state machine's role and name; `define` creates the machine itself.

        The functions that start or watch executions need the machine's ARN, and the machine needs theirs. So
        its name is made here and not by CloudFormation.
        """
        super().__init__(scope, id_)
        self._settings, self._storage, self._job_role = settings, storage, job_role
        self._name = f"{Stack.of(self).stack_name}-{self.node.addr[-8:]}"
        self.arn = arn("states", f"stateMachine:{self._name}")
        self.executions_arn = arn("states", f"execution:{self._name}:*")
        self._role = iam.Role(self, "Role", assumed_by=service_principal("states.amazonaws.com"))

    def define(self, functions: Mapping[str, Function], training_image: str) -> sfn.StateMachine:
        """Create the state machine."""
        self._grant_tasks(functions)
        states = pipeline_definition(self._settings, functions, self._job_role.role_arn, training_image)
        log_group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"{STATE_MACHINE_LOGS}/{self._name}",
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

    def grant_task_response(self, function: Function) -> None:
        """Allow a function to complete a task that waits with a task token.

        IAM's reference lists no resource for this action, but Step Functions checks the state machine of
        the task. The CDK's `grant_task_response` names it too.
        """
        allow(function.role, ["states:SendTaskSuccess"], [self.arn])

    def grant_read_history(self, function: Function) -> None:
        """Allow a function to read the history of an execution, to resume it at the state that failed."""
        allow(
            function.role,
            ["states:GetExecutionHistory"],
            [self.executions_arn],
            wildcard_because="an execution is named by its run",
        )

    def grant_read_map_runs(self, function: Function) -> None:
        """Allow a function to read why a batch of the Distributed Map failed."""
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

    def grant_describe_tuning(self, function: Function) -> None:
        """Allow a function to read the status of a tuning job and its trials."""
        allow(
            function.role,
            [
                "sagemaker:DescribeHyperParameterTuningJob",
                "sagemaker:ListTrainingJobsForHyperParameterTuningJob",
            ],
            [arn("sagemaker", self._tuning_jobs)],
            wildcard_because="a tuning job is named by its run",
        )

    def grant_describe_jobs(self, function: Function) -> None:
        """Allow a function to read the billed time of runs' jobs, and to find jobs without a reservation."""
        names = self._settings.names
        self.grant_describe_tuning(function)
        for kind, jobs in (
            (
                "Training",
                [f"training-job/{names.training_job('*')}", f"training-job/{names.tuning_job('*')}"],
            ),
            ("Processing", [f"processing-job/{names.evaluation_job('*')}"]),
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
    def _tuning_jobs(self) -> str:
        """ARN resource of the tuning jobs."""
        return f"hyper-parameter-tuning-job/{self._settings.names.tuning_job('*')}"

    def _grant_tasks(self, functions: Mapping[str, Function]) -> None:
        names, role = self._settings.names, self._role
        allow(role, ["lambda:InvokeFunction"], [functions[function].arn for function in FUNCTION_SECONDS])
        for kind, jobs in (
            ("Training", f"training-job/{names.training_job('*')}"),
            ("HyperParameterTuning", self._tuning_jobs),
            ("Processing", f"processing-job/{names.evaluation_job('*')}"),
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
        # `.sync` learns of the end of a job from these rules, which Step Functions creates itself.
        rules = [
            f"rule/StepFunctionsGetEventsForSageMaker{kind}JobsRule"
            for kind in ("Training", "Tuning", "Processing")
        ]
        allow(
            role,
            ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            [arn("events", rule) for rule in rules],
        )
        grant_pass_role(role, self._job_role.role_arn, "sagemaker.amazonaws.com")
        allow(
            role,
            ["s3:GetObject"],
            [self._storage.artifacts(s3_keys.batches("*"))],
            wildcard_because="the list of batches lies below its run's id",
        )
        allow(
            role,
            ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"],
            [self._storage.artifacts(below(s3_keys.read_results("*")))],
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
