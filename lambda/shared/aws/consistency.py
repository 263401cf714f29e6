"""Retries operations of SageMaker that do not find yet what was made a moment ago.

Its API reference says so of CreateEndpoint: the dependent entities are read with eventual consistency, a
validation error is the answer while they are not there, and retrying is recommended.
"""

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

_DELAYS_SECONDS = (1.0, 2.0, 4.0, 8.0)


def retry_until_visible(operation: Callable[..., Any], **fields: Any) -> Any:
    """Call an operation of SageMaker, again if what it depends on cannot be found yet."""
    for seconds in _DELAYS_SECONDS:
        try:
            return operation(**fields)
        except ClientError as error:
            if not is_not_found(error):
                raise
        _sleep(seconds)
    return operation(**fields)


def is_not_found(error: ClientError) -> bool:
    """Whether SageMaker answers that something does not exist: a ValidationException, as it has no 404."""
    return "could not find" in error.response["Error"]["Message"].lower()


_sleep = time.sleep
