"""IAM conditions on requests to SageMaker.

SageMaker compares these keys with the request itself. So a compromised function cannot create a job on
another instance type, for a longer time or with network access: the request is denied before it costs
anything.
"""

from collections.abc import Sequence
from typing import Any

WITHOUT_NETWORK: dict[str, Any] = {"Bool": {"sagemaker:NetworkIsolation": "true"}}
"""The containers have network isolation: they can use only what SageMaker mounts into them."""


def only_instances(instances: Sequence[str]) -> dict[str, Any]:
    """Return the condition that a request names only these instance types."""
    return {
        "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": list(instances)},
        # `ForAllValues` is also true for a request without the key.
        "Null": {"sagemaker:InstanceTypes": "false"},
    }
