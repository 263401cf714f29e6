"""The instances that jobs and endpoints have now, held against the account's quotas.

A hold is acquired before anything starts, and released when its instances have ended. What would exceed the
quota is refused at once, in SageMaker's words.
"""

import threading
from dataclasses import dataclass

from local.aws.account.account_quotas import instance_quota
from local.aws.errors import AwsError
from local.aws.sagemaker.record_store import STORE, Record

_LOCK = threading.RLock()
_HOLDS: list["InstanceHold"] = []


@dataclass(eq=False)
class InstanceHold:
    """Instances of one type that are in use for one purpose."""

    instance_type: str
    usage: str
    count: int

    def resize(self, count: int) -> None:
        """Have another number of instances. Raises `AwsError` if the quota does not allow it."""
        with _LOCK:
            require_instances(self.instance_type, self.usage, count - self.count)
            self.count = count

    def release(self) -> None:
        """Release the instances. A second call does nothing."""
        with _LOCK:
            if self in _HOLDS:
                _HOLDS.remove(self)


def acquire_instances(instance_type: str, usage: str, count: int) -> InstanceHold:
    """Acquire instances. Raises `AwsError` (ResourceLimitExceeded) if the quota does not allow it."""
    with _LOCK:
        require_instances(instance_type, usage, count)
        hold = InstanceHold(instance_type, usage, count)
        _HOLDS.append(hold)
        return hold


def acquire_instances_for(kind: str, name: str, instance_type: str, usage: str, count: int) -> InstanceHold:
    """Acquire instances for a record that was just added; remove it again if the quota does not allow it."""
    try:
        return acquire_instances(instance_type, usage, count)
    except AwsError:
        STORE.remove(kind, name)
        raise


def require_instances(instance_type: str, usage: str, more: int) -> None:
    """Raise `AwsError` unless the account may have so many more instances now."""
    quota = instance_quota(instance_type, usage)
    held = instances_in_use(instance_type, usage)
    if more <= 0 or held + more <= quota.value:
        return
    raise AwsError(
        "ResourceLimitExceeded",
        f"The account-level service limit '{quota.name}' is {quota.value:g} Instances, with current "
        f"utilization of {held} Instances and a request delta of {more} Instances. Please use AWS Service "
        "Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS "
        "support to request an increase for this quota.",
    )


def instances_in_use(instance_type: str, usage: str) -> int:
    """Count the instances that are in use."""
    with _LOCK:
        return sum(
            hold.count for hold in _HOLDS if (hold.instance_type, hold.usage) == (instance_type, usage)
        )


def training_instances(request: Record) -> tuple[str, str, int]:
    """Return the type, usage and number of the instances of a training job or of a trial."""
    usage = "spot training job" if request.get("EnableManagedSpotTraining") else "training job"
    resources = request["ResourceConfig"]
    return resources["InstanceType"], usage, resources["InstanceCount"]
