"""Copy files of the checkout into a bucket at deployment, with the CDK's own function for it."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as s3_deployment
from constructs import Construct

from stacks.accepted_findings import FUNCTION, LOG_GROUP, accept_findings
from stacks.permissions import acknowledge, acknowledge_generated_policy, service_principal


def deploy_files(
    scope: Construct,
    id_: str,
    *,
    bucket: s3.IBucket,
    sources: Sequence[s3_deployment.ISource],
    prefix: str | None = None,
    prune: bool,
    retain_on_delete: bool,
    cache_control: Sequence[s3_deployment.CacheControl] = (),
) -> s3_deployment.BucketDeployment:
    """Copy files into a bucket.

    Args:
        scope: the stack; only one call for each, because its deployment function has one log group.
        id_: of the deployment.
        bucket: the destination.
        sources: folders, or data written at deployment.
        prefix: key prefix without a slash at its end.
        prune: whether other files below the prefix are deleted.
        retain_on_delete: whether the files stay when the stack is deleted.
        cache_control: for browsers.
    """
    log_group = logs.LogGroup(
        scope, f"{id_}Log", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
    )
    accept_findings(log_group, LOG_GROUP)
    deployment = s3_deployment.BucketDeployment(
        scope,
        id_,
        destination_bucket=bucket,
        sources=list(sources),
        destination_key_prefix=prefix,
        prune=prune,
        retain_on_delete=retain_on_delete,
        cache_control=list(cache_control) or None,
        memory_limit=512,
        log_group=log_group,
    )
    _acknowledge_deployer(deployment)
    return deployment


def _acknowledge_deployer(deployment: s3_deployment.BucketDeployment) -> None:
    role = deployment.handler_role
    definition = role.node.default_child
    assert isinstance(definition, iam.CfnRole)  # noqa: S101 - for the type checker
    trust = service_principal("lambda.amazonaws.com").policy_fragment.conditions
    definition.add_property_override("AssumeRolePolicyDocument.Statement.0.Condition", trust)
    acknowledge_generated_policy(
        role,
        "the CDK writes the policy of its own function: it reads its assets and writes this one bucket",
    )
    acknowledge(
        role,
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
        "the CDK gives its deployment function this policy, for its log",
    )
    function = role.node.scope
    assert function is not None  # noqa: S101 - for the type checker
    accept_findings(function, FUNCTION)
    acknowledge(function, "AwsSolutions-L1", "the CDK chooses the runtime of its own deployment function")
