"""The functions: each with its own role, its own log group and nothing it does not need."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

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
        """Make the function.

        Args:
            scope: where.
            name: folder below `lambda/`, such as `debounce_uploads`.
            settings: of the app.
            bundles: the functions' code.
            storage: buckets and table, which every function knows.
            timeout: after which Lambda stops it.
            memory_mb: memory; the share of a processor grows with it.
            disk_mb: temporary disk.
            environment: variables beside those of every function.
            handler: where it is not `<name>.handler.handler`.
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
            environment={**_common_environment(name, settings, storage), **(environment or {})},
        )
        accept_findings(self.function, FUNCTION, BASE_MODEL)
        if settings.function_python != _NEWEST_PYTHON:
            acknowledge(
                self.function,
                "AwsSolutions-L1",
                f"function_python asks for {settings.function_python}: on one machine the functions run with "
                "the Python that is there",
            )

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return self.function.function_arn

    def may_use_table(self, *actions: str, partitions: Sequence[str]) -> None:
        """Allow actions of DynamoDB on some partitions of the table.

        Args:
            actions: such as `GetItem`.
            partitions: partition keys, such as `RUNS` or `USAGE#*` (docs/contracts.md).
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

    def may_read_artifacts(self, *keys: str) -> None:
        """Allow reading objects of the artifacts bucket below some prefixes, such as `runs/*`."""
        allow(
            self.role,
            ["s3:GetObject"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="run ids, versions and file names below these prefixes are made at run time",
        )

    def may_write_artifacts(self, *keys: str) -> None:
        """Allow writing objects of the artifacts bucket below some prefixes."""
        allow(
            self.role,
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="run ids, versions and file names below these prefixes are made at run time",
        )

    def may_resume_artifacts(self, *keys: str) -> None:
        """Allow looking at the parts of multipart uploads that an earlier call began."""
        allow(
            self.role,
            ["s3:ListMultipartUploadParts"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="file names below these prefixes are made at run time",
        )

    def may_tag_artifacts(self, *keys: str) -> None:
        """Allow tagging objects of the artifacts bucket below some prefixes."""
        allow(
            self.role,
            ["s3:PutObjectTagging"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="versions and file names below these prefixes are made at run time",
        )

    def may_read_tags_of_artifacts(self, *keys: str) -> None:
        """Allow reading the tags of objects below some prefixes."""
        allow(
            self.role,
            ["s3:GetObjectTagging"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="versions and file names below these prefixes are made at run time",
        )

    def may_delete_artifacts(self, *keys: str) -> None:
        """Allow deleting objects of the artifacts bucket below some prefixes."""
        allow(
            self.role,
            ["s3:DeleteObject"],
            [self._storage.artifacts(key) for key in keys],
            wildcard_because="file names below these prefixes are made at run time",
        )

    def may_tell_owner(self, topic_arn: str) -> None:
        """Let it send messages to the person who owns the stories."""
        allow(self.role, ["sns:Publish"], [topic_arn])
        self.function.add_environment("STORYLOOM_TOPIC_ARN", topic_arn)

    def may_list_artifacts(self, *prefixes: str) -> None:
        """Allow listing the artifacts bucket below some prefixes only.

        Reading an object that is not there also needs this permission, or S3 says 403 instead of 404; such a
        request has no prefix, hence `IfExists`.
        """
        allow(
            self.role,
            ["s3:ListBucket"],
            [self._storage.artifacts_arn],
            conditions={"StringLikeIfExists": {"s3:prefix": list(prefixes)}},
        )


def _common_environment(name: str, settings: Settings, storage: Storage) -> dict[str, str]:
    model = settings.model
    base_model = {
        "name": model.name,
        "id": model.id,
        "slug": model.slug,
        "revision": model.revision,
        "chat": model.chat,
        "context_length": model.context_length,
        "parameters_millions": model.parameters_millions,
        "gated": model.gated,
    }
    given = settings.instance_prices_usd
    return {
        **({"STORYLOOM_INSTANCE_PRICES": json.dumps(given)} if given else {}),
        "STORYLOOM_NAME": settings.name,
        "STORYLOOM_TABLE": storage.table,
        "STORYLOOM_STORIES_BUCKET": storage.stories_bucket,
        "STORYLOOM_ARTIFACTS_BUCKET": storage.artifacts_bucket,
        "STORYLOOM_BASE_MODEL": json.dumps(base_model),
        "POWERTOOLS_SERVICE_NAME": name,
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_METRICS_NAMESPACE": settings.title,
    }
