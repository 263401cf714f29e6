"""The service quotas of this account: their names, their codes, and how much of each AWS allows now.

Quotas are named as Service Quotas names them. The profile of an account (`account_file`) has a value of each;
the account file has those that differ from it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import botocore.session

from local.aws.account.account_file import Account, read_account
from local.aws.cloud_environment import CloudFolders

Service = Literal["sagemaker", "lambda"]

AMPLE_INSTANCES = 20
"""What the usual account has of every instance type: more than this machine can run."""
CPU_INSTANCES_OF_NEW = 4
"""What a new account has of each instance type without an accelerator."""
LAMBDA_CONCURRENCY = "Concurrent executions"
CONCURRENCY_BY_DEFAULT, CONCURRENCY_OF_NEW = 1_000, 10
MEMORY_BY_DEFAULT, MEMORY_OF_NEW = 10_240, 3_008
"""MB of one function. Service Quotas does not list it."""

_USAGES = {
    "training job": "TrainingInstanceType",
    "spot training job": "TrainingInstanceType",
    "processing job": "ProcessingInstanceType",
    "transform job": "TransformInstanceType",
    "endpoint": "ProductionVariantInstanceType",
}
"""What instances are used for, and SageMaker's enumeration of the types that may be."""
_ACCELERATED = ("g", "p", "inf", "trn", "dl")
_KNOWN_CODES = {
    LAMBDA_CONCURRENCY: "L-B99A9384",
    "ml.g5.xlarge for endpoint usage": "L-1928E07B",
    "ml.g6.xlarge for endpoint usage": "L-D470D954",
    "ml.g6e.xlarge for endpoint usage": "L-B0729CB4",
}
"""Codes that are published; AWS shows the others nowhere but in Service Quotas."""


@dataclass(frozen=True)
class ServiceQuota:
    """One quota of one service."""

    service: Service
    name: str
    default: float
    """What AWS gives an account that has asked for nothing, as its documentation lists it."""
    of_new: float
    of_usual: float
    unit: str = "None"

    @property
    def code(self) -> str:
        """AWS's name of the quota for programs: the same in each account and region."""
        digest = hashlib.sha256(f"{self.service}/{self.name}".encode()).hexdigest()
        return _KNOWN_CODES.get(self.name) or f"L-{digest[:8].upper()}"

    @property
    def value(self) -> float:
        """How much the account may have now."""
        account = current_account()
        if not is_offered(self):
            return 0
        by_profile = self.of_new if account.profile == "new" else self.of_usual
        return account.quotas.get(self.name, by_profile)


def current_account() -> Account:
    """Read the account's limits."""
    return read_account(account_path())


def account_path() -> Path:
    """Return the path of the account file."""
    return CloudFolders.of_this_cloud().account


def instance_quota(instance_type: str, usage: str) -> ServiceQuota:
    """Find the quota of an instance type for a usage (`endpoint`, `spot training job` …)."""
    return catalogue()["sagemaker", f"{instance_type} for {usage} usage"]


def is_offered(quota: ServiceQuota) -> bool:
    """Tell whether this region offers what the quota is for; a region has no quota for anything else."""
    return quota.name.partition(" ")[0] not in current_account().not_offered


def lambda_concurrency() -> ServiceQuota:
    """Find the quota of functions that run at once."""
    return catalogue()["lambda", LAMBDA_CONCURRENCY]


def lambda_memory_mb() -> int:
    """Return how much memory one function may have, in MB."""
    return MEMORY_OF_NEW if current_account().profile == "new" else MEMORY_BY_DEFAULT


def is_accelerated(instance_type: str) -> bool:
    """Tell whether an instance has a GPU or another accelerator; their quota is 0 until AWS raises it."""
    family = instance_type.split(".")[1]
    return family.startswith(_ACCELERATED)


@cache
def catalogue() -> dict[tuple[Service, str], ServiceQuota]:
    """List all quotas, by service and name."""
    return {(quota.service, quota.name): quota for quota in _all()}


def _all() -> Iterator[ServiceQuota]:
    yield ServiceQuota(
        "lambda", LAMBDA_CONCURRENCY, CONCURRENCY_BY_DEFAULT, CONCURRENCY_OF_NEW, CONCURRENCY_BY_DEFAULT
    )
    model = botocore.session.get_session().get_service_model("sagemaker")
    for usage, enumeration in _USAGES.items():
        for instance_type in model.shape_for(enumeration).metadata["enum"]:
            few = 0 if is_accelerated(instance_type) else CPU_INSTANCES_OF_NEW
            yield ServiceQuota("sagemaker", f"{instance_type} for {usage} usage", few, few, AMPLE_INSTANCES)
