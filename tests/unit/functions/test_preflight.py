"""Before a training is paid for, the account's quotas are compared with what the whole run needs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from contracts.settings import Settings
from preflight.handler import handler as preflight
from shared.aws import clients
from stacks.quotas import needed
from tests.unit.functions.conftest import DeployedResources

RUN = "20260907-090000-abcd"
ASKED = {"run_id": RUN, "estimate": {"training_minutes": 6.0}}
TRAINING = "ml.g6.xlarge for spot training job usage"
EVALUATION = "ml.g6.xlarge for processing job usage"
ENDPOINT = "ml.g6.xlarge for endpoint usage"


class Quotas:
    """Service Quotas with an account's values; `defaults` are in the list of defaults only."""

    class meta:  # noqa: N801 (boto3's own name)
        region_name = "eu-west-1"

    def __init__(self, applied: dict[str, float], defaults: dict[str, float] | None = None) -> None:
        self._values = {"list_service_quotas": applied, "list_aws_default_service_quotas": defaults or {}}

    def get_paginator(self, operation: str) -> Any:
        values = self._values[operation]

        class Pages:
            def paginate(self, ServiceCode: str) -> list[dict[str, Any]]:  # noqa: N803
                assert ServiceCode == "sagemaker"
                return [
                    {"Quotas": [{"QuotaName": name, "Value": value, "QuotaCode": f"L-{len(name)}"}]}
                    for name, value in values.items()
                ]

        return Pages()


@pytest.fixture
def account(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Give the account these quotas."""
    quotas = [
        {
            "name": need.name,
            "minimum": need.minimum,
            "purpose": need.purpose,
            "stands_in_for": need.stands_in_for,
        }
        for need in needed(Settings())
        if need.service == "sagemaker" and (not need.optional or need.stands_in_for)
    ]
    monkeypatch.setenv("STORYLOOM_QUOTAS", json.dumps(quotas))
    return lambda client: monkeypatch.setattr(clients, "service_quotas", lambda: client)


def _ample() -> dict[str, float]:
    return {need.name: 2 for need in needed(Settings()) if need.service == "sagemaker"}


def test_an_account_with_all_quotas_continues(account: Callable[[Any], None], context: LambdaContext) -> None:
    account(Quotas(_ample()))
    assert preflight(ASKED, context) == {"enough": True, "message": ""}


@pytest.mark.parametrize("name", [TRAINING, EVALUATION, ENDPOINT])
def test_a_quota_that_is_too_low_is_named_with_its_cure(
    account: Callable[[Any], None], context: LambdaContext, name: str
) -> None:
    kind = name.removeprefix("ml.g6.xlarge")
    account(Quotas({**_ample(), **{quota: 0 for quota in _ample() if quota.endswith(kind)}}))
    told = preflight(ASKED, context)
    assert not told["enough"]
    assert "nothing was spent on a GPU" in told["message"]
    assert f"- {name}: 0, and 1 is needed for" in told["message"]
    assert f"--quota-code L-{len(name)} --desired-value 1 --region eu-west-1" in told["message"]
    assert f"/servicequotas/home/services/sagemaker/quotas/L-{len(name)}" in told["message"]
    assert told["message"].count("\n- ") == 1


@pytest.mark.parametrize("name", [EVALUATION, ENDPOINT])
def test_another_instance_of_the_list_will_do(
    account: Callable[[Any], None], context: LambdaContext, name: str
) -> None:
    account(Quotas({**_ample(), name: 0}))
    assert preflight(ASKED, context)["enough"]


@pytest.mark.aws_fact
def test_a_quota_with_its_default_value_is_read_from_the_defaults(
    account: Callable[[Any], None], context: LambdaContext
) -> None:
    applied = {name: value for name, value in _ample().items() if name != TRAINING}
    account(Quotas(applied, {TRAINING: 0}))
    assert TRAINING in preflight(ASKED, context)["message"]


def test_what_cannot_be_seen_stops_nothing(account: Callable[[Any], None], context: LambdaContext) -> None:
    account(Quotas({}))
    assert preflight(ASKED, context)["enough"], "AWS tells none of them"

    class Refusing(Quotas):
        def get_paginator(self, operation: str) -> Any:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)

    account(Refusing({}))
    assert preflight(ASKED, context)["enough"]
