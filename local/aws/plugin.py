"""The plug-in: everything that this package changes in MiniStack, in order.

MiniStack's functions are wrapped, so of two parts that wrap the same one the later sees a request first.
"""

from local.aws import sagemaker, step_functions
from local.aws.account import account_limits, service_quotas
from local.aws.services import (
    api_gateway,
    async_calls,
    cloudformation,
    cloudwatch,
    cognito,
    dynamodb,
    ecr,
    eventbridge,
    iam,
    lambda_functions,
    lambda_workers,
    logs,
    pricing,
    request_checks,
    s3,
    streaming,
    tagging,
)

PARTS = (
    iam,
    cloudformation,
    cloudwatch,
    logs,
    s3,
    dynamodb,
    ecr,
    cognito,
    tagging,
    account_limits,
    # Web functions run before the workers' results are interpreted.
    streaming,
    api_gateway,
    lambda_workers,
    async_calls,
    eventbridge,
    # A malformed request is refused before any service looks at it, and a too large one before it is parsed.
    request_checks,
    lambda_functions,
    pricing,
    service_quotas,
    sagemaker,
    step_functions,
)


def install() -> None:
    """Install every part into the MiniStack of this process."""
    for part in PARTS:
        part.install()
