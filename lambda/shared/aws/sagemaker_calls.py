"""Create SageMaker's resources: their tag, and retries until what they depend on is visible.

SageMaker reads the dependencies of CreateEndpoint with eventual consistency. While they are not visible it
answers with a validation error, and its API reference recommends retrying.
"""

import time
from collections.abc import Callable
from typing import Any, TypedDict

from botocore.exceptions import ClientError

from contracts import environment
from contracts.resource_names import TAG
from shared.aws import clients

_DELAYS_SECONDS = (1.0, 2.0, 4.0, 8.0)


class Tag(TypedDict):
    """A tag in SageMaker's form."""

    Key: str
    Value: str


def app_tags() -> list[Tag]:
    """Return the tags of a resource that is created at run time, by which it and its cost are found."""
    return [{"Key": TAG, "Value": environment.common().name}]


def retry_until_visible(operation: Callable[..., Any], **fields: Any) -> Any:
    """Call an operation of SageMaker, and retry it if what it depends on is not visible yet."""
    for seconds in _DELAYS_SECONDS:
        try:
            return operation(**fields)
        except ClientError as error:
            if not is_not_found(error):
                raise
        _sleep(seconds)
    return operation(**fields)


def create_once(operation: str, **fields: Any) -> None:
    """Call a create operation, and accept that the resource already exists.

    Args:
        operation: boto3's name of it, such as `create_model`.
        fields: its arguments.
    """
    try:
        retry_until_visible(getattr(clients.sagemaker(), operation), **fields)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUse" and not already_exists(error):
            raise


def already_exists(error: ClientError) -> bool:
    """Return whether SageMaker refused to create a resource because it already exists."""
    return "already exist" in error.response["Error"]["Message"]


def is_not_found(error: ClientError) -> bool:
    """Return whether SageMaker answered that something does not exist: a ValidationException, not a 404."""
    return "could not find" in error.response["Error"]["Message"].lower()


_sleep = time.sleep
