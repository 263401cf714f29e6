"""What SageMaker says if there is no machine: none is free, or the account may not have one."""

from shared.items import Shortage

# SageMaker says it in a failed endpoint's FailureReason, or refuses the call with ResourceLimitExceeded:
# "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
# "The account-level service limit 'ml.g6.xlarge for endpoint usage' is 0 Instances, …"
_QUOTA = ("resourcelimitexceeded", "service limit", "servicequotaexceeded")
_CAPACITY = ("insufficientinstancecapacity", "insufficientcapacity", "ml compute capacity", "capacityerror")


def shortage(reason: str | None) -> Shortage | None:
    """Say what is short if this is why a machine could not be had; None if it is something else."""
    told = (reason or "").lower()
    if any(sign in told for sign in _QUOTA):
        return "quota"
    return "capacity" if any(sign in told for sign in _CAPACITY) else None
