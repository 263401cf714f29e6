"""Storage: what outlives every other stack. Nothing here is deleted with the stack."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.permissions import acknowledge
from stacks.references import Storage, publish, published
from stacks.settings import Settings

_NO_ACCESS_LOG = (
    "one person's own files: every function that may read them is in this app, and an access log would be a "
    "second bucket that costs and grows; CloudTrail data events can be turned on where an audit asks for them"
)


class StorageStack(Stack):
    """The stories, what is made of them, and the table."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, **stack_props: object) -> None:
        """Make the stack."""
        super().__init__(scope, id_, description="Storyloom: stories, artifacts and records", **stack_props)  # type: ignore[arg-type]
        stories = _stories_bucket(self, settings)
        artifacts = _artifacts_bucket(self)
        table = _table(self)
        publish(self, "StoriesBucketName", stories.bucket_name, "Drop stories here")
        publish(self, "ArtifactsBucketName", artifacts.bucket_name, "What the runs make")
        publish(self, "TableName", table.table_name, "Runs, models and hosting state")

    def seen_from(self, consumer: Stack) -> Storage:
        """Names of the buckets and the table, for another stack."""
        return Storage(
            stories_bucket=published(self, consumer, "StoriesBucketName"),
            artifacts_bucket=published(self, consumer, "ArtifactsBucketName"),
            table=published(self, consumer, "TableName"),
        )


def _stories_bucket(scope: Construct, settings: Settings) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        "Stories",
        versioned=True,  # a run reads the versions of its manifest, whatever is dropped meanwhile
        **_private_and_kept(),  # type: ignore[arg-type]
        lifecycle_rules=[
            s3.LifecycleRule(
                # Only half-sent uploads: nothing that a person dropped is ever deleted, old versions included.
                id="AbortHalfSentUploads",
                abort_incomplete_multipart_upload_after=Duration.days(7),
            )
        ],
        cors=[
            s3.CorsRule(
                # The page uploads with a presigned POST, which is itself the permission.
                allowed_methods=[s3.HttpMethods.POST],
                allowed_origins=[settings.browser_endpoint or "https://*.cloudfront.net"],
                allowed_headers=["*"],
                max_age=3600,
            )
        ],
    )
    # Set on the resource: the construct's own switch would add a function that calls the same API.
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)  # noqa: S101 - for the type checker
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
    acknowledge(bucket, "AwsSolutions-S1", _NO_ACCESS_LOG)
    return bucket


def _artifacts_bucket(scope: Construct) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        "Artifacts",
        **_private_and_kept(),  # type: ignore[arg-type]
        lifecycle_rules=[
            s3.LifecycleRule(
                id="AbortHalfSentUploads", abort_incomplete_multipart_upload_after=Duration.days(7)
            ),
            s3.LifecycleRule(
                # Datasets, reports and adapters of old runs stay readable, only cheaper.
                id="OldRunsToInfrequentAccess",
                prefix="runs/",
                transitions=[
                    s3.Transition(
                        storage_class=s3.StorageClass.INFREQUENT_ACCESS, transition_after=Duration.days(90)
                    )
                ],
            ),
        ],
    )
    acknowledge(bucket, "AwsSolutions-S1", _NO_ACCESS_LOG)
    return bucket


def _private_and_kept() -> dict[str, object]:
    return {
        "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
        # S3's own key: a KMS key of ours would cost a dollar a month and a call an object, and anyone who may
        # read the objects could use it all the same.
        "encryption": s3.BucketEncryption.S3_MANAGED,
        "enforce_ssl": True,
        "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        "removal_policy": RemovalPolicy.RETAIN,
    }


def _table(scope: Construct) -> dynamodb.Table:
    return dynamodb.Table(
        scope,
        "Records",
        partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.DEFAULT,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        removal_policy=RemovalPolicy.RETAIN,
    )
