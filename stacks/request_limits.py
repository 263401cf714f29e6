"""What SageMaker may be asked for, as conditions of IAM.

SageMaker compares these keys with the request itself. Whoever takes over a function gets no other machine, no
longer job and no network: such a request is refused before it costs or reaches anything.
"""

from collections.abc import Sequence
from typing import Any

WITHOUT_NETWORK: dict[str, Any] = {"Bool": {"sagemaker:NetworkIsolation": "true"}}
"""The containers reach nothing but what SageMaker hands them."""


def only_instances(instances: Sequence[str]) -> dict[str, Any]:
    """Condition that all machines of a request are of these types."""
    return {
        "ForAllValues:StringEquals": {"sagemaker:InstanceTypes": list(instances)},
        # `ForAllValues` also holds for a request that names none
        "Null": {"sagemaker:InstanceTypes": "false"},
    }
