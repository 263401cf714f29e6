"""Service Quotas, and who asks: what a check before a deployment reads."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from local.aws.account import account_file
from local.aws.account.account_file import Account
from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.sagemaker.conftest import Aws

pytestmark = pytest.mark.cloud

ENDPOINT = "ml.g6.xlarge for endpoint usage"
CONCURRENCY = {"ServiceCode": "lambda", "QuotaCode": "L-B99A9384"}


@pytest.fixture(autouse=True)
def _restore_account(aws: Aws) -> Iterator[None]:
    """Restore the limits of the usual account for other tests."""
    before = account_file.read_account(aws.cloud.folders.account)
    yield
    account_file.write_account(aws.cloud.folders.account, before)


def _quotas(aws: Aws, operation: str = "list_service_quotas", **page: int) -> dict[str, dict[str, Any]]:
    paginator = aws.client("service-quotas").get_paginator(operation)
    pages = list(paginator.paginate(ServiceCode="sagemaker", PaginationConfig={"PageSize": 100, **page}))
    assert len(pages) > 5
    return {quota["QuotaName"]: quota for one in pages for quota in one["Quotas"]}


def _refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.aws_fact
def test_a_new_account_lists_its_gpus_as_zero_over_many_pages(aws: Aws) -> None:
    account_file.write_account(
        aws.cloud.folders.account, Account("new", {"ml.g5.xlarge for endpoint usage": 1})
    )
    quotas = _quotas(aws)
    assert (quotas[ENDPOINT]["Value"], quotas[ENDPOINT]["QuotaCode"]) == (0, "L-D470D954")
    assert quotas["ml.g5.xlarge for endpoint usage"]["Value"] == 1
    assert quotas["ml.g6.xlarge for spot training job usage"]["Adjustable"]
    usual = aws.client("service-quotas").get_service_quota(**CONCURRENCY)["Quota"]
    default = aws.client("service-quotas").get_aws_default_service_quota(**CONCURRENCY)["Quota"]
    assert (usual["Value"], default["Value"]) == (10, 1_000)


@pytest.mark.aws_fact
def test_what_a_region_does_not_have_has_no_quota(aws: Aws) -> None:
    code = _quotas(aws)[ENDPOINT]["QuotaCode"]
    account_file.write_account(aws.cloud.folders.account, replace(Account(), not_offered=("ml.g6.xlarge",)))
    assert ENDPOINT not in _quotas(aws)
    assert ENDPOINT not in _quotas(aws, "list_aws_default_service_quotas")
    ask = aws.client("service-quotas").get_service_quota
    assert _refused(ask, ServiceCode="sagemaker", QuotaCode=code)[0] == "NoSuchResourceException"


@pytest.mark.aws_fact
def test_an_increase_is_asked_for_once_and_waits(aws: Aws) -> None:
    quotas = aws.client("service-quotas")
    account_file.write_account(aws.cloud.folders.account, Account("new"))
    wish = {"ServiceCode": "sagemaker", "QuotaCode": _quotas(aws)[ENDPOINT]["QuotaCode"]}
    code, message = _refused(quotas.request_service_quota_increase, **wish, DesiredValue=0)
    assert (code, message) == (
        "IllegalArgumentException",
        "You must provide a quota value greater than the current quota value",
    )
    asked = quotas.request_service_quota_increase(**wish, DesiredValue=2)["RequestedQuota"]
    assert (asked["Status"], asked["QuotaName"], asked["DesiredValue"]) == ("PENDING", ENDPOINT, 2)
    assert _refused(quotas.request_service_quota_increase, **wish, DesiredValue=3)[0] == (
        "ResourceAlreadyExistsException"
    )
    history = quotas.list_requested_service_quota_change_history_by_quota(**wish)["RequestedQuotas"]
    assert [one["Id"] for one in history] == [asked["Id"]]
    assert _quotas(aws)[ENDPOINT]["Value"] == 0

    aws.cloud.set_quota(ENDPOINT, 2)  # AWS grants it
    listed = quotas.list_requested_service_quota_change_history(ServiceCode="sagemaker", Status="APPROVED")
    assert asked["Id"] in [one["Id"] for one in listed["RequestedQuotas"]]
    assert _quotas(aws)[ENDPOINT]["Value"] == 2


def test_a_wrong_service_token_and_value_are_refused_in_its_own_words(aws: Aws) -> None:
    quotas = aws.client("service-quotas")
    assert _refused(quotas.list_service_quotas, ServiceCode="nobody")[0] == "NoSuchResourceException"
    wrong = _refused(quotas.list_service_quotas, ServiceCode="lambda", NextToken="bm9uZQ==")
    assert wrong[0] == "InvalidPaginationTokenException"
    assert [one["ServiceCode"] for one in quotas.list_services()["Services"]] == ["sagemaker", "lambda"]


def test_reading_and_asking_are_permissions_of_their_own(aws: Aws) -> None:
    reader = aws.user("service-quotas", {"servicequotas:GetServiceQuota": "*"})
    assert reader.get_service_quota(**CONCURRENCY)["Quota"]["QuotaName"] == "Concurrent executions"
    code, message = _refused(reader.list_service_quotas, ServiceCode="sagemaker")
    assert code == "AccessDeniedException"
    assert "servicequotas:ListServiceQuotas" in message
    code, message = _refused(reader.request_service_quota_increase, **CONCURRENCY, DesiredValue=2000)
    assert code == "AccessDeniedException"
    assert f"arn:aws:servicequotas:{REGION}:{ACCOUNT}:lambda/L-B99A9384" in message


@pytest.mark.aws_fact
def test_an_unknown_key_and_a_wrong_secret_are_told_apart(aws: Aws) -> None:
    key = aws.client("iam").create_access_key(UserName=_user(aws))["AccessKey"]
    assert _identity(aws, key["AccessKeyId"], key["SecretAccessKey"]) == "ok"
    assert _identity(aws, "AKIAIOSFODNN7EXAMPLE", key["SecretAccessKey"]) == "InvalidClientTokenId"
    assert _identity(aws, key["AccessKeyId"], "wrong") == "SignatureDoesNotMatch"


def _user(aws: Aws) -> str:
    name = f"user-{uuid4().hex[:8]}"
    aws.client("iam").create_user(UserName=name)
    return name


def _identity(aws: Aws, key: str, secret: str, token: str | None = None) -> str:
    environment = aws.cloud.environment()
    session: Any = boto3.Session(key, secret, token, REGION)
    client = session.client(
        "sts", endpoint_url=environment["AWS_ENDPOINT_URL"], verify=environment["AWS_CA_BUNDLE"]
    )
    try:
        client.get_caller_identity()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"
