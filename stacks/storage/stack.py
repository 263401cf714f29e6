"""The Storage stack: stories, artifacts and the table, which outlive the other stacks.

It is protected from deletion. The next deployment with the same name uses what it holds: see
docs/decisions/0014-kept-storage.md.
"""

from aws_cdk import Duration, Environment, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from constructs import Construct

from contracts import s3_keys
from contracts.settings import Settings
from stacks.accepted_findings import BUCKET, REPRODUCIBLE_BUCKET, TABLE, accept_findings
from stacks.permissions import acknowledge
from stacks.references import Storage, publish, published

_NO_ACCESS_LOG = (
    "one person's own files: every function that may read them is in this app, and an access log would be a "
    "second bucket that costs and grows; CloudTrail data events can be turned on if an audit asks for them"
)

# Retained whatever happens to the stack. What a failed creation has made is empty and is deleted.
_KEPT = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE


class StorageStack(Stack):
    """The buckets of the stories and the artifacts, and the table."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, env: Environment) -> None:
        """Create the stack."""
        super().__init__(
            scope,
            id_,
            description="Storyloom: stories, artifacts and records",
            env=env,
            # Deleting the app leaves this stack and its content; the next deployment finds them here.
            termination_protection=True,
        )
        stories = _stories_bucket(self, settings)
        artifacts = _artifacts_bucket(self)
        table = _table(self)
        publish(self, "StoriesBucketName", stories.bucket_name, "Bucket for stories: upload them here")
        publish(
            self,
            "ArtifactsBucketName",
            artifacts.bucket_name,
            "Bucket for datasets, reports and models",
        )
        publish(
            self,
            "TableName",
            table.table_name,
            "Table of runs, versions and the endpoint's state",
        )

    def import_into(self, consumer: Stack) -> Storage:
        """Return the names of the buckets and the table for another stack."""
        return Storage(
            stories_bucket=published(self, consumer, "StoriesBucketName"),
            artifacts_bucket=published(self, consumer, "ArtifactsBucketName"),
            table=published(self, consumer, "TableName"),
        )


def _stories_bucket(scope: Construct, settings: Settings) -> s3.Bucket:
    bucket = _kept_bucket(
        scope,
        "Stories",
        versioned=True,  # a run reads the versions in its manifest, whatever is uploaded meanwhile
        # What a person uploaded is never deleted, old versions included.
        lifecycle_rules=[_abort_incomplete_uploads()],
        cors=[
            s3.CorsRule(
                # The page uploads with a presigned POST, which is itself the permission: a browser sends no
                # cookie to S3, so the page of another distribution cannot upload without one of our forms.
                # Our own distribution's domain is created two stacks later, so it cannot be named here.
                # Links to objects are opened as pages, which needs no rule.
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
    return bucket


def _artifacts_bucket(scope: Construct) -> s3.Bucket:
    # Datasets, reports and adapters of old runs stay readable and become cheaper.
    old_runs = s3.LifecycleRule(
        id="OldRunsToInfrequentAccess",
        prefix=s3_keys.RUNS,
        transitions=[
            s3.Transition(storage_class=s3.StorageClass.INFREQUENT_ACCESS, transition_after=Duration.days(90))
        ],
    )
    # Results of reading files. Runs rewrite the entries that they use in time, so an expired one was not used
    # for a while. Runs also delete the entries of deleted stories; this rule works when there is no run.
    unused_cache = s3.LifecycleRule(
        id="ForgetUnusedCache", prefix=s3_keys.CACHE, expiration=Duration.days(30)
    )
    # Prompts and answers of batches, and the model packed for them, which is packed again when needed.
    batches = s3.LifecycleRule(id="ForgetBatches", prefix=s3_keys.TRANSFORMS, expiration=Duration.days(30))
    # A retired bundle is tagged, then deleted. This rule deletes what an interrupted deletion left; the live
    # bundle never has the tag.
    retired = s3.LifecycleRule(
        id="DeleteRetiredBundles",
        prefix=s3_keys.HOSTING,
        tag_filters={s3_keys.RETIRED: "true"},
        expiration=Duration.days(1),
    )
    return _kept_bucket(
        scope,
        "Artifacts",
        versioned=False,
        lifecycle_rules=[_abort_incomplete_uploads(), old_runs, unused_cache, batches, retired],
    )


def _kept_bucket(
    scope: Construct,
    id_: str,
    *,
    versioned: bool,
    lifecycle_rules: list[s3.LifecycleRule],
    cors: list[s3.CorsRule] | None = None,
) -> s3.Bucket:
    """Create a private bucket that outlives the stack."""
    bucket = s3.Bucket(
        scope,
        id_,
        versioned=versioned,
        lifecycle_rules=lifecycle_rules,
        cors=cors,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        # S3's own key: a KMS key would cost a dollar a month and a call for each object, and whoever may read
        # the objects could use it anyway.
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=_KEPT,
    )
    acknowledge(bucket, "AwsSolutions-S1", _NO_ACCESS_LOG)
    accept_findings(bucket, BUCKET, {} if versioned else REPRODUCIBLE_BUCKET)
    return bucket


def _abort_incomplete_uploads() -> s3.LifecycleRule:
    return s3.LifecycleRule(
        id="AbortHalfSentUploads", abort_incomplete_multipart_upload_after=Duration.days(7)
    )


def _table(scope: Construct) -> dynamodb.Table:
    table = dynamodb.Table(
        scope,
        "Records",
        partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.DEFAULT,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        # Only usage records of past days have this attribute.
        time_to_live_attribute="expires_at",
        removal_policy=_KEPT,
    )
    accept_findings(table, TABLE)
    return table
