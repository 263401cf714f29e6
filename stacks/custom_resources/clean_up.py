"""Remove what was created at run time when a stack is deleted, by a custom resource in each such stack.

CloudFormation deletes in the reverse order of dependencies. Whatever could create something new depends on
the custom resource, so it is deleted before the clean-up. The custom resource depends on what it uses, and on
the roles that SageMaker needs until an endpoint or a job is gone. See
docs/decisions/0013-clean-up-at-deletion.md.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from aws_cdk import Aws, CustomResource, Duration
from constructs import Construct, IDependable

from contracts.environment import StateMachine
from contracts.resource_names import JOB_LOGS
from contracts.settings import Settings
from contracts.table_keys import BATCHES, HOSTING, KEYS, LOCK, MODELS, RUNS
from stacks.functions.function import Function
from stacks.grants.hosting import HostedEndpoint
from stacks.permissions import allow, arn

LONGEST_CLEAN_UP = Duration.minutes(15)
"""Lambda's limit: an endpoint that is being created can be deleted only after its creation has ended."""
_LONGEST_ANSWER = Duration.minutes(16)
"""How long CloudFormation waits for a response. By default a deletion would hang for an hour."""
_NAMED = "jobs, models and configurations are named by run, version or batch, which are created at run time"
_LISTED = "SageMaker lists what an account has or nothing; the function picks what this app has named"


def made_at_run_time(
    scope: Construct,
    *,
    clean_up_arn: str,
    part: Literal["hosting", "everything"],
    properties: Mapping[str, str] | None = None,
    needs: Sequence[IDependable] = (),
    makers: Sequence[Construct] = (),
) -> None:
    """Add the custom resource that removes what was created at run time when its stack is deleted.

    Args:
        scope: the stack.
        clean_up_arn: ARN of the function `clean_up`.
        part: what is removed.
        properties: further properties of the custom resource, which the function reads.
        needs: what is deleted after the clean-up, because the clean-up uses it.
        makers: what is deleted before the clean-up, because it could create something new.
    """
    resource = CustomResource(
        scope,
        "MadeAtRunTime",
        resource_type="Custom::MadeAtRunTime",
        service_token=clean_up_arn,
        service_timeout=_LONGEST_ANSWER,
        properties={"Part": part, **(properties or {})},
    )
    for needed in needs:
        resource.node.add_dependency(needed)
    for maker in makers:
        maker.node.add_dependency(resource)


def grant_clean_up(
    function: Function,
    settings: Settings,
    *,
    hosting: HostedEndpoint,
    machine_arn: str,
    executions_arn: str,
) -> None:
    """Allow `clean_up` to find, stop and delete what this app creates at run time, by name.

    Args:
        function: `clean_up`.
        settings: of the app.
        hosting: the endpoint.
        machine_arn: ARN of the state machine.
        executions_arn: ARN pattern of its executions.
    """
    names = settings.names
    function.grant_table_access(
        *("GetItem", "Query", "UpdateItem", "DeleteItem"),
        partitions=(RUNS, LOCK, MODELS, HOSTING, BATCHES, KEYS),
    )
    hosting.grant_delete(function)
    _grant_jobs(function, settings)
    _grant_logs(function, settings)
    allow(function.role, ["states:ListExecutions"], [machine_arn])
    allow(
        function.role,
        ["states:StopExecution"],
        [executions_arn],
        wildcard_because="an execution is named by its run",
    )
    function.configure(StateMachine(state_machine_arn=machine_arn))
    allow(
        function.role,
        ["sagemaker:DeleteModelPackage"],
        [arn("sagemaker", f"model-package/{settings.name}/*")],
        wildcard_because="the registry numbers the packages of the group",
    )
    page_bucket = f"arn:{Aws.PARTITION}:s3:::{settings.names.page_buckets}"
    for action, resource in (("s3:ListBucket", page_bucket), ("s3:DeleteObject", f"{page_bucket}/*")):
        allow(
            function.role,
            [action],
            [resource],
            wildcard_because="the Chat stack, which is deployed later, makes the page's bucket",
        )
    lists = (
        "EndpointConfigs",
        "Models",
        "ModelPackages",
        *(f"{kind}Jobs" for kind in job_patterns(settings)),
    )
    allow(function.role, [f"sagemaker:List{kind}" for kind in lists], ["*"], wildcard_because=_LISTED)
    allow(
        function.role,
        ["cloudformation:DescribeStacks"],
        [arn("cloudformation", f"stack/{stack}/*") for stack in (names.pipeline_stack, names.chat_stack)],
        wildcard_because="AWS ends a stack's ARN with an id that it makes",
    )


def job_patterns(settings: Settings) -> dict[str, list[str]]:
    """Return ARN patterns of the jobs by SageMaker's name of their kind."""
    names = settings.names
    search = names.tuning_job("*")
    return {
        "HyperParameterTuning": [f"hyper-parameter-tuning-job/{search}"],
        "Training": list(
            dict.fromkeys([f"training-job/{names.training_job('*')}", f"training-job/{search}"])
        ),
        "Processing": [f"processing-job/{names.evaluation_job('*')}"],
        "Transform": [f"transform-job/{names.transform_job('*')}"],
    }


def _grant_jobs(function: Function, settings: Settings) -> None:
    for kind, names in job_patterns(settings).items():
        # The cost of a job is recorded before the job is deleted.
        actions = [f"sagemaker:Stop{kind}Job", f"sagemaker:Describe{kind}Job"]
        if kind == "HyperParameterTuning":
            actions.append("sagemaker:ListTrainingJobsForHyperParameterTuningJob")
        if kind != "Transform":  # SageMaker has no operation that deletes one
            actions.append(f"sagemaker:Delete{kind}Job")
        if kind in ("HyperParameterTuning", "Training"):
            actions.append("sagemaker:ListTags")  # a search's name may be cut, so its tag identifies the app
        allow(
            function.role,
            actions,
            [arn("sagemaker", name) for name in names],
            wildcard_because=_NAMED,
        )


def _grant_logs(function: Function, settings: Settings) -> None:
    allow(
        function.role,
        ["logs:DescribeLogStreams"],
        [arn("logs", f"log-group:{group}{streams}") for group in JOB_LOGS for streams in ("", ":*")],
        wildcard_because="CloudWatch Logs checks a log's streams as a whole; the function asks by job name",
    )
    prefixes = dict.fromkeys([f"{settings.name}-", settings.names.tuning_job("")])
    allow(
        function.role,
        ["logs:DeleteLogStream"],
        [arn("logs", f"log-group:{group}:log-stream:{prefix}*") for group in JOB_LOGS for prefix in prefixes],
        wildcard_because=_NAMED,
    )
    endpoint_log = f"log-group:{settings.names.endpoint_log}"
    allow(
        function.role,
        ["logs:DeleteLogGroup"],
        [arn("logs", endpoint_log), arn("logs", f"{endpoint_log}:*")],
        wildcard_because="the ARN of a log group ends with the star",
    )
