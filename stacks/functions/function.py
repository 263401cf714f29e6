"""The functions: each with its own role, its own log group and nothing it does not need."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from contracts.environment import BaseModelChoice, Common, EnvironmentGroup, GivenPrices, Messages
from contracts.settings import Settings
from stacks.accepted_findings import BASE_MODEL, FUNCTION, LOG_GROUP, accept_findings
from stacks.functions.function_bundles import FunctionBundles
from stacks.functions.function_groups import group_of
from stacks.permissions import acknowledge, allow, service_principal
from stacks.references import Storage

LOG_RETENTION = logs.RetentionDays.ONE_MONTH
_NEWEST_PYTHON = "3.14"


class Function(Construct):
    """One Lambda function with its role."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        bundles: FunctionBundles,
        storage: Storage,
        timeout: Duration,
        memory_mb: int = 512,
        disk_mb: int = 512,
        environment: Mapping[str, str] | None = None,
        handler: str = "",
        layers: Sequence[lambda_.ILayerVersion] = (),
    ) -> None:
        """Create the function.

        Args:
            scope: the stack.
            name: folder below `lambda/`, such as `debounce_uploads`.
            settings: of the app.
            bundles: the functions' code.
            storage: buckets and table, whose names every function gets.
            timeout: after which Lambda stops it.
            memory_mb: memory; the share of a processor is proportional to it.
            disk_mb: temporary disk.
            environment: variables of other programs in the function; `configure` sets those of its own code.
            handler: by default `<name>.handler.handler`.
            layers: Lambda layers.
        """
        super().__init__(scope, "".join(word.capitalize() for word in name.split("_")))
        self.role = iam.Role(self, "Role", assumed_by=service_principal("lambda.amazonaws.com"))
        self._storage = storage
        log_group = logs.LogGroup(self, "Log", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY)
        accept_findings(log_group, LOG_GROUP)
        allow(self.role, ["logs:CreateLogStream", "logs:PutLogEvents"], [log_group.log_group_arn])
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Storyloom: {name.replace('_', ' ')}",
            runtime=lambda_.Runtime(f"python{settings.function_python}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.X86_64,
            code=bundles.code(group_of(name)),
            handler=handler or f"{name}.handler.handler",
            role=self.role,
            log_group=log_group,
            timeout=timeout,
            memory_size=memory_mb,
            ephemeral_storage_size=Size.mebibytes(disk_mb),
            layers=list(layers),
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_LOG_LEVEL": "INFO",
                "POWERTOOLS_METRICS_NAMESPACE": settings.names.title,
                **(environment or {}),
            },
        )
        self.configure(_common(settings, storage))
        if settings.instance_prices_usd:
            self.configure(GivenPrices(instance_prices=settings.instance_prices_usd))
        accept_findings(self.function, FUNCTION, BASE_MODEL)
        if settings.function_python != _NEWEST_PYTHON:
            acknowledge(
                self.function,
                "AwsSolutions-L1",
                f"function_python is {settings.function_python}, because in the local cloud functions run "
                "with the installed Python",
            )

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return self.function.function_arn

    def configure(self, *groups: EnvironmentGroup) -> None:
        """Set the environment variables of some groups, which the function reads as the same groups."""
        for group in groups:
            for name, value in group.variables().items():
                self.function.add_environment(name, value)

    def grant_table_access(self, *actions: str, partitions: Sequence[str]) -> None:
        """Grant actions of DynamoDB on some partitions of the table.

        Args:
            actions: such as `GetItem`.
            partitions: partition keys of `contracts/table_keys.py`.
        """
        allow(
            self.role,
            [f"dynamodb:{action}" for action in actions],
            [self._storage.table_arn],
            # `ForAllValues` also holds for a request without the key, which no request of these has
            conditions={
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(partitions)},
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        )

    def grant_read_artifacts(self, *keys: str) -> None:
        """Grant reading objects of the artifacts bucket, by patterns of `contracts/s3_keys.py`."""
        allow(
            self.role,
            ["s3:GetObject"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="run ids, versions and file names below these prefixes are created at run time",
        )

    def grant_write_artifacts(self, *keys: str) -> None:
        """Grant writing objects of the artifacts bucket."""
        allow(
            self.role,
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="run ids, versions and file names below these prefixes are created at run time",
        )

    def grant_list_upload_parts(self, *keys: str) -> None:
        """Grant listing the parts of multipart uploads that an earlier call began."""
        allow(
            self.role,
            ["s3:ListMultipartUploadParts"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="file names below these prefixes are created at run time",
        )

    def grant_tag_artifacts(self, *keys: str) -> None:
        """Grant tagging objects of the artifacts bucket."""
        allow(
            self.role,
            ["s3:PutObjectTagging"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="versions and file names below these prefixes are created at run time",
        )

    def grant_read_artifact_tags(self, *keys: str) -> None:
        """Grant reading the tags of objects of the artifacts bucket."""
        allow(
            self.role,
            ["s3:GetObjectTagging"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="versions and file names below these prefixes are created at run time",
        )

    def grant_delete_artifacts(self, *keys: str) -> None:
        """Grant deleting objects of the artifacts bucket."""
        allow(
            self.role,
            ["s3:DeleteObject"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="file names below these prefixes are created at run time",
        )

    def grant_publish(self, topic_arn: str) -> None:
        """Grant publishing messages to the person who owns the stories."""
        allow(self.role, ["sns:Publish"], [topic_arn])
        self.configure(Messages(topic_arn=topic_arn))

    def grant_list_artifacts(self, *prefixes: str) -> None:
        """Grant listing the artifacts bucket below some prefixes only.

        Reading an object that does not exist also needs this permission, or S3 answers 403 instead of 404.
        Such a request has no prefix, hence `IfExists`.
        """
        allow(
            self.role,
            ["s3:ListBucket"],
            [self._storage.artifacts_arn],
            conditions={"StringLikeIfExists": {"s3:prefix": list(prefixes)}},
        )


def _common(settings: Settings, storage: Storage) -> Common:
    return Common.from_settings(
        settings,
        table=storage.table,
        stories_bucket=storage.stories_bucket,
        artifacts_bucket=storage.artifacts_bucket,
        base_model=BaseModelChoice.model_validate(settings.model, from_attributes=True),
    )
