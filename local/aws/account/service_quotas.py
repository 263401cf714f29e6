"""The Service Quotas API: what the account may have, what AWS gives by default, and requests for more.

A request stays pending until the account file grants it: AWS takes minutes or days, and a person may decide.
"""

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from local.aws.account.account_quotas import ServiceQuota, catalogue, is_offered
from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.errors import AwsError
from local.aws.service_handlers import Response, register_service
from local.aws.service_models import operation, validate
from local.aws.services.iam import Denied, authorize_request, caller_arn

Record = dict[str, Any]
Answer = Callable[[Record, str], Record]
"""(request, ARN of the caller)"""

SERVICE = "servicequotas"
MODEL = "service-quotas"
PAGE = 100
SERVICE_NAMES = {"sagemaker": "Amazon SageMaker", "lambda": "AWS Lambda"}
OPEN = ("PENDING", "CASE_OPENED")

_REQUESTS: list[Record] = []


def install() -> None:
    """Make MiniStack answer for Service Quotas."""
    register_service(SERVICE, _handle, ["ServiceQuotasV20190624."])


@dataclass(frozen=True)
class _Operation:
    answer: Answer
    on_quota: bool = False
    """Whether its action is authorized on the quota; all others are on `*`."""


def _list(request: Record, caller: str) -> Record:
    wanted = request.get("QuotaCode")
    found = [_shown(quota, quota.value) for quota in _of(request) if wanted in (None, quota.code)]
    return _page("Quotas", found, request)


def _get(request: Record, caller: str) -> Record:
    quota = _find(request)
    return {"Quota": _shown(quota, quota.value)}


def _list_defaults(request: Record, caller: str) -> Record:
    return _page("Quotas", [_shown(quota, quota.default) for quota in _of(request)], request)


def _get_default(request: Record, caller: str) -> Record:
    quota = _find(request)
    return {"Quota": _shown(quota, quota.default)}


def _request_increase(request: Record, caller: str) -> Record:
    quota, now = _find(request), time.time()
    if request["DesiredValue"] <= quota.value:
        raise AwsError(
            "IllegalArgumentException", "You must provide a quota value greater than the current quota value"
        )
    # An account whose quota AWS has reduced cannot ask for less than everybody has.
    if request["DesiredValue"] <= quota.default:
        message = (
            f"You must provide a quota value greater than the default quota value of {quota.default:.1f}"
        )
        raise AwsError("IllegalArgumentException", message)
    if any(one["QuotaCode"] == quota.code and one["Status"] in OPEN for one in _requests()):
        raise AwsError(
            "ResourceAlreadyExistsException",
            "Only one open service quota increase request is allowed per quota.",
        )
    made = {
        **{key: value for key, value in _shown(quota, 0).items() if key not in _NOT_IN_REQUESTS},
        "Id": uuid4().hex,
        "DesiredValue": request["DesiredValue"],
        "Status": "PENDING",
        "Created": now,
        "LastUpdated": now,
        "Requester": json.dumps({"accountId": ACCOUNT, "callerArn": caller}),
        "QuotaRequestedAtLevel": "ACCOUNT",
    }
    _REQUESTS.append(made)
    return {"RequestedQuota": made}


def _history(request: Record, caller: str) -> Record:
    if "ServiceCode" in request:
        _of(request)
    if "QuotaCode" in request:
        _find(request)
    asked = [
        one
        for one in _requests()
        if all(request.get(key) in (None, one[key]) for key in ("ServiceCode", "QuotaCode", "Status"))
    ]
    return _page("RequestedQuotas", asked, request)


def _get_request(request: Record, caller: str) -> Record:
    for one in _requests():
        if one["Id"] == request["RequestId"]:
            return {"RequestedQuota": one}
    raise AwsError("NoSuchResourceException", "The requested quota change does not exist.")


def _services(request: Record, caller: str) -> Record:
    known = [{"ServiceCode": code, "ServiceName": name} for code, name in SERVICE_NAMES.items()]
    return _page("Services", known, request)


OPERATIONS = {
    "ListServices": _Operation(_services),
    "ListServiceQuotas": _Operation(_list),
    "GetServiceQuota": _Operation(_get),
    "ListAWSDefaultServiceQuotas": _Operation(_list_defaults),
    "GetAWSDefaultServiceQuota": _Operation(_get_default),
    "RequestServiceQuotaIncrease": _Operation(_request_increase, on_quota=True),
    "ListRequestedServiceQuotaChangeHistory": _Operation(_history),
    "ListRequestedServiceQuotaChangeHistoryByQuota": _Operation(_history),
    "GetRequestedServiceQuotaChange": _Operation(_get_request),
}
_NOT_IN_REQUESTS = ("Value", "Adjustable", "QuotaAppliedAtLevel")


def perform_quota_operation(
    name: str, request: Record, caller: str, authorize: Callable[[str, str], None]
) -> Record:
    """Validate, authorize and answer one operation. Raises `AwsError` or `Denied`."""
    operation(name, MODEL)
    if name not in OPERATIONS:
        raise AwsError("UnknownOperationException", f"The local Service Quotas does not have {name} yet.")
    try:
        validate(name, request, MODEL)
    except AwsError as invalid:
        raise AwsError("IllegalArgumentException", invalid.message) from invalid
    found = OPERATIONS[name]
    target = _arn(request["ServiceCode"], request["QuotaCode"]) if found.on_quota else "*"
    authorize(f"{SERVICE}:{name}", target)
    return found.answer(request, caller)


async def _handle(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
) -> Response:
    """Answer an HTTP request (JSON 1.1, `X-Amz-Target: ServiceQuotasV20190624.<Operation>`)."""
    name = headers.get("x-amz-target", "").partition(".")[2]

    def authorize(action: str, resource: str) -> None:
        authorize_request(headers, query, action, resource)

    try:
        return _json(
            200,
            perform_quota_operation(name, json.loads(body or b"{}"), caller_arn(headers, query), authorize),
        )
    except AwsError as error:
        return _json(error.status, {"__type": error.code, "Message": error.message}, error.code)
    except Denied as denied:
        return _json(
            400, {"__type": "AccessDeniedException", "Message": denied.message}, "AccessDeniedException"
        )


def _json(status: int, content: Record, error: str = "") -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1", **({"x-amzn-errortype": error} if error else {})}
    return status, headers, json.dumps(content).encode()


def _of(request: Record) -> list[ServiceQuota]:
    """List all quotas of the request's service that this region has, by name."""
    if request["ServiceCode"] not in SERVICE_NAMES:
        raise AwsError(
            "NoSuchResourceException", "The request failed because the specified service does not exist."
        )
    quotas = [quota for quota in catalogue().values() if quota.service == request["ServiceCode"]]
    return sorted((quota for quota in quotas if is_offered(quota)), key=lambda quota: quota.name)


def _find(request: Record) -> ServiceQuota:
    for quota in _of(request):
        if quota.code == request["QuotaCode"]:
            return quota
    raise AwsError(
        "NoSuchResourceException", "The request failed because the specified quota does not exist."
    )


def _shown(quota: ServiceQuota, value: float) -> Record:
    return {
        "ServiceCode": quota.service,
        "ServiceName": SERVICE_NAMES[quota.service],
        "QuotaArn": _arn(quota.service, quota.code),
        "QuotaCode": quota.code,
        "QuotaName": quota.name,
        "Value": float(value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


def _arn(service: str, code: str) -> str:
    return f"arn:aws:{SERVICE}:{REGION}:{ACCOUNT}:{service}/{code}"


def _requests() -> Iterable[Record]:
    """List the requests, newest first; one whose quota was raised meanwhile is approved."""
    quotas = {quota.code: quota for quota in catalogue().values()}
    for one in _REQUESTS:
        if one["Status"] in OPEN and quotas[one["QuotaCode"]].value >= one["DesiredValue"]:
            one.update(Status="APPROVED", LastUpdated=time.time())
    return list(reversed(_REQUESTS))


def _page(member: str, items: list[Record], request: Record) -> Record:
    start = _start(request.get("NextToken"))
    end = start + request.get("MaxResults", PAGE)
    more = {"NextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else {}
    return {member: items[start:end], **more}


def _start(token: str | None) -> int:
    try:
        return int(base64.b64decode(token, validate=True)) if token else 0
    except (ValueError, binascii.Error) as error:
        raise AwsError("InvalidPaginationTokenException", "Invalid token was provided.") from error
