"""The region that `cdk deploy` takes, so that every command looks where the app was, or will be, deployed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import boto3

REGION_VARIABLES = ("AWS_REGION", "AMAZON_REGION", "AWS_DEFAULT_REGION", "AMAZON_DEFAULT_REGION")
"""Where the CDK CLI looks, in its order; boto3 looks at the third alone."""
REGION_OF_THE_CDK = "us-east-1"
"""What the CDK CLI takes if nothing names a region."""


def configured_region(given: str, session: boto3.Session) -> str:
    """Return the region given, else that of the environment or of the profile; empty if none is named."""
    of_environment = next(filter(None, map(os.environ.get, REGION_VARIABLES)), "")
    return given or of_environment or session.region_name or ""
