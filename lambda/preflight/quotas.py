"""SageMaker's quotas of the account, compared with what a run needs."""

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

_SERVICE = "sagemaker"


class QuotaNeed(BaseModel):
    """One quota that a run needs (`stacks/quotas.py`)."""

    model_config = ConfigDict(frozen=True)

    name: str
    minimum: int
    purpose: str
    stands_in_for: str = ""
    """Name of the quota that this one can stand in for; empty if there is none."""


class Quota(NamedTuple):
    """What the account may have."""

    value: float
    code: str


def read_quotas(client: Any, names: set[str]) -> dict[str, Quota]:
    """Read the quotas with these names, as far as AWS lists them.

    `ListServiceQuotas` leaves out a quota whose value is the default one in some accounts: those are read
    from the list of defaults.
    """
    found: dict[str, Quota] = {}
    for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
        if names <= found.keys():
            break
        for page in client.get_paginator(operation).paginate(ServiceCode=_SERVICE):
            for quota in page["Quotas"]:
                if quota["QuotaName"] in names:
                    found.setdefault(quota["QuotaName"], Quota(quota["Value"], quota["QuotaCode"]))
    return found


def unmet(needs: list[QuotaNeed], quotas: dict[str, Quota]) -> list[QuotaNeed]:
    """List the needs that the account does not meet, and that no other one stands in for.

    A quota that AWS does not list counts as met.
    """

    def met(need: QuotaNeed) -> bool:
        return need.name not in quotas or quotas[need.name].value >= need.minimum

    instead = {need.stands_in_for for need in needs if need.stands_in_for and met(need)}
    return [need for need in needs if not need.stands_in_for and not met(need) and need.name not in instead]
