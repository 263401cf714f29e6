"""Roles: whether SageMaker may assume one, and boto3 clients of this MiniStack with its credentials."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import create_loader

from local.aws.cloud_environment import REGION
from local.aws.errors import invalid
from local.aws.services.iam import Credentials, role_trusts

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client

PRINCIPAL = "sagemaker.amazonaws.com"
_CONFIG = Config(retries={"max_attempts": 3}, max_pool_connections=8)
_LOADER = create_loader()
"""Keeps the service models for the clients of every role: reading them is a third of a job's work here."""


@dataclass(frozen=True)
class RoleClients:
    """The AWS services as one role sees them."""

    credentials: Credentials

    @cached_property
    def _session(self) -> boto3.Session:
        session = botocore.session.Session()
        session.register_component("data_loader", _LOADER)
        return boto3.Session(
            botocore_session=session,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            aws_session_token=self.credentials.token,
            region_name=REGION,
        )

    @cached_property
    def s3(self) -> "S3Client":
        """S3."""
        return self._session.client("s3", endpoint_url=_own_endpoint(), config=_CONFIG)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """CloudWatch Logs."""
        return self._session.client("logs", endpoint_url=_own_endpoint(), config=_CONFIG)

    @cached_property
    def cloudwatch(self) -> "CloudWatchClient":
        """CloudWatch metrics."""
        return self._session.client("cloudwatch", endpoint_url=_own_endpoint(), config=_CONFIG)


def require_trusted(role_arn: str) -> None:
    """Raise `AwsError` unless SageMaker may assume the role."""
    if not role_trusts(role_arn, PRINCIPAL):
        raise invalid(
            f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
            f"'{PRINCIPAL}' to assume the role."
        )


def _own_endpoint() -> str:
    """Return the URL of this MiniStack."""
    return os.environ["AWS_ENDPOINT_URL"]
