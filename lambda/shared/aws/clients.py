"""The boto3 clients, each created once per process.

Clients, unlike resources and sessions, may be shared between threads, and the API does that.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_pricing import PricingClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_stepfunctions import SFNClient

# 200 files that are dropped at once make 200 concurrent calls to APIs with small quotas: back off for longer
# than the default of five attempts.
_PATIENT = Config(retries={"mode": "standard", "max_attempts": 10}, connect_timeout=5, read_timeout=60)

# A Lambda process has one request at a time. On a local machine it has many, and a connection beyond the pool
# is opened anew for each call.
_KEPT_CONNECTIONS = Config(max_pool_connections=64)

# A request for an answer is never retried: a retry of a half-read stream would pay for the tokens again.
# Many requests to cancel one answer may be outstanding at once.
_ANSWERS = Config(
    retries={"mode": "standard", "max_attempts": 1},
    connect_timeout=5,
    read_timeout=290,
    max_pool_connections=64,
)


@cache
def dynamodb() -> "DynamoDBClient":
    """Return a DynamoDB client that takes and returns plain Python values, and takes condition objects.

    It is the client inside boto3's resource, because the resource itself must not be shared between threads.
    """
    return boto3.resource("dynamodb", config=_PATIENT.merge(_KEPT_CONNECTIONS)).meta.client


@cache
def s3() -> "S3Client":
    """Return the S3 client."""
    return boto3.client("s3", config=_PATIENT)


@cache
def s3_presigner(endpoint: str) -> "S3Client":
    """Return the client that presigns forms and links for a browser.

    It signs with SigV4, since S3 refuses the older SigV2 in most places. The bucket becomes part of the host
    name, unless the host is an address.

    Args:
        endpoint: URL of the region's S3 for the browser; empty for the environment's.
    """
    presigning = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
    return boto3.client("s3", endpoint_url=endpoint or None, config=_PATIENT.merge(presigning))


@cache
def cognito() -> Any:
    """Return the user pool's client. It gives up before API Gateway gives up on its authorizer (10 s)."""
    quick = Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=1, read_timeout=3)
    return boto3.client("cognito-idp", config=quick.merge(_KEPT_CONNECTIONS))


@cache
def scheduler() -> "EventBridgeSchedulerClient":
    """Return the EventBridge Scheduler client."""
    return boto3.client("scheduler", config=_PATIENT)


@cache
def stepfunctions() -> "SFNClient":
    """Return the Step Functions client."""
    return boto3.client("stepfunctions", config=_PATIENT)


@cache
def sagemaker() -> "SageMakerClient":
    """Return the SageMaker client."""
    return boto3.client("sagemaker", config=_PATIENT)


@cache
def sagemaker_runtime() -> "SageMakerRuntimeClient":
    """Return the client that invokes the endpoint."""
    return boto3.client("sagemaker-runtime", config=_ANSWERS.merge(_KEPT_CONNECTIONS))


@cache
def application_autoscaling() -> "ApplicationAutoScalingClient":
    """Return the Application Auto Scaling client, for the number of the endpoint's instances."""
    return boto3.client("application-autoscaling", config=_PATIENT)


@cache
def logs() -> "CloudWatchLogsClient":
    """Return the CloudWatch Logs client."""
    return boto3.client("logs", config=_PATIENT)


@cache
def cloudwatch() -> "CloudWatchClient":
    """Return the CloudWatch client."""
    return boto3.client("cloudwatch", config=_PATIENT)


@cache
def sns() -> "SNSClient":
    """Return the SNS client."""
    return boto3.client("sns", config=_PATIENT)


@cache
def secretsmanager() -> "SecretsManagerClient":
    """Return the Secrets Manager client."""
    return boto3.client("secretsmanager", config=_PATIENT)


@cache
def ssm() -> Any:
    """Return the Systems Manager client."""
    return boto3.client("ssm", config=_PATIENT)


@cache
def service_quotas() -> Any:
    """Return the Service Quotas client."""
    return boto3.client("service-quotas", config=_PATIENT)


@cache
def pricing(region: str) -> "PricingClient":
    """Return the client of the Price List API, which exists in few regions, for all of them."""
    return boto3.client("pricing", region_name=region, config=_PATIENT)


@cache
def lambdas() -> "LambdaClient":
    """Return the Lambda client."""
    return boto3.client("lambda", config=_PATIENT)


@cache
def cloudformation() -> "CloudFormationClient":
    """Return the CloudFormation client."""
    return boto3.client("cloudformation", config=_PATIENT)
