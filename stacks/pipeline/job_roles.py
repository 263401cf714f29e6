"""IAM roles of SageMaker's jobs and of the endpoint."""

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from contracts import s3_keys
from contracts.resource_names import ENDPOINT_LOGS, PROCESSING_LOG, TRAINING_LOG, TRANSFORM_LOG
from contracts.s3_keys import below
from contracts.settings import Settings
from stacks.containers import registry_account, repository_of
from stacks.permissions import allow, arn, service_principal
from stacks.references import Storage
from stacks.rollback_alarms import allow_describing_alarms


def job_role(scope: Construct, settings: Settings, storage: Storage, image: str) -> iam.Role:
    """Create the role of the training and evaluation jobs, which read their inputs and write a run."""
    role = _sagemaker_role(scope, "JobRole", "Storyloom: training and evaluation jobs")
    allow(
        role,
        ["s3:GetObject"],
        [
            storage.artifacts(prefix)
            for prefix in (below(s3_keys.TRAINING_CODE), below(s3_keys.BASE_MODELS), below(s3_keys.RUNS))
        ],
        wildcard_because="hashes, revisions and run ids below these prefixes are created at run time",
    )
    allow(
        role,
        ["s3:PutObject", "s3:AbortMultipartUpload"],
        [storage.artifacts(below(s3_keys.RUNS))],
        wildcard_because="adapters, checkpoints and evaluations go below their run's id",
    )
    _list_artifacts(
        role, storage, below(s3_keys.TRAINING_CODE), below(s3_keys.BASE_MODELS), below(s3_keys.RUNS)
    )
    _write_logs(role, [TRAINING_LOG, PROCESSING_LOG])
    # SageMaker publishes the metrics of a job's log with the job's role.
    _put_metrics(role, [TRAINING_LOG, PROCESSING_LOG])
    _pull_image(role, image)
    return role


def hosting_role(scope: Construct, settings: Settings, storage: Storage, image: str) -> iam.Role:
    """Create the role of the endpoint, which reads only its bundle."""
    role = _sagemaker_role(scope, "HostingRole", "Storyloom: the endpoint")
    allow(
        role,
        ["s3:GetObject"],
        [storage.artifacts(below(s3_keys.HOSTING))],
        wildcard_because="a bundle is a folder named by its version",
    )
    _list_artifacts(role, storage, below(s3_keys.HOSTING))
    _write_logs(role, [settings.names.endpoint_log])
    _put_metrics(role, [ENDPOINT_LOGS, "AWS/SageMaker"])
    # SageMaker uses the endpoint's role to read the alarms that roll a deployment back.
    allow_describing_alarms(role)
    _pull_image(role, image)
    return role


def transform_role(scope: Construct, storage: Storage, image: str) -> iam.Role:
    """Create the role of the transform jobs, which read model and requests and write answers."""
    role = _sagemaker_role(scope, "TransformRole", "Storyloom: transform jobs")
    named = "a model is named by its version, requests and answers by their batch"
    allow(
        role,
        ["s3:GetObject"],
        [
            storage.artifacts(keys)
            for keys in (below(s3_keys.TRANSFORM_MODELS), below(s3_keys.all_requests("*")))
        ],
        wildcard_because=named,
    )
    allow(
        role,
        ["s3:PutObject", "s3:AbortMultipartUpload"],
        [storage.artifacts(below(s3_keys.all_answers("*")))],
        wildcard_because=named,
    )
    _list_artifacts(role, storage, below(s3_keys.TRANSFORM_MODELS), below(s3_keys.all_requests("*")))
    _write_logs(role, [TRANSFORM_LOG])
    _put_metrics(role, [TRANSFORM_LOG])
    _pull_image(role, image)
    return role


def _sagemaker_role(scope: Construct, id_: str, description: str) -> iam.Role:
    principal = service_principal("sagemaker.amazonaws.com")
    return iam.Role(scope, id_, assumed_by=principal, description=description)


def _list_artifacts(role: iam.Role, storage: Storage, *prefixes: str) -> None:
    allow(
        role,
        ["s3:ListBucket"],
        [storage.artifacts_arn],
        # S3 answers 404 for a missing object only to a role that may list it; such a request has no prefix.
        conditions={"StringLikeIfExists": {"s3:prefix": list(prefixes)}},
    )


def _write_logs(role: iam.Role, log_groups: list[str]) -> None:
    allow(
        role,
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
        [arn("logs", f"log-group:{group}{streams}") for group in log_groups for streams in ("", ":*")],
        wildcard_because="SageMaker names a log stream by the job or instance that writes it",
    )


def _put_metrics(role: iam.Role, namespaces: list[str]) -> None:
    allow(
        role,
        ["cloudwatch:PutMetricData"],
        ["*"],
        wildcard_because="CloudWatch metrics and ECR sign-in have no ARNs to name; metrics are limited to "
        "SageMaker's namespaces by a condition, and a sign-in gives nothing by itself",
        conditions={"StringEquals": {"cloudwatch:namespace": namespaces}},
    )


def _pull_image(role: iam.Role, image: str) -> None:
    repository = repository_of(image)
    allow(
        role,
        ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
        [f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:{registry_account(image)}:repository/{repository}"],
    )
    allow(
        role,
        ["ecr:GetAuthorizationToken"],
        ["*"],
        wildcard_because="CloudWatch metrics and ECR sign-in have no ARNs to name; metrics are limited to "
        "SageMaker's namespaces by a condition, and a sign-in gives nothing by itself",
    )
