"""What AWS refuses an account: functions too large or too many, and CloudFront before it is verified.

MiniStack has reserved concurrency and one limit for every account. Here the limit is the account's quota, and
what a function has reserved is taken from it for as long as it is reserved, as on AWS.
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudfront, lambda_svc
from ministack.services.cloudformation import provisioners

from local.aws.account import account_quotas
from local.aws.services.cloudformation import before_creating

Json = dict[str, Any]
Limit = Callable[[], int]
FUNCTION = "AWS::Lambda::Function"
LEAST_UNRESERVED = 100
"""What reservations must leave to the other functions; all of it in an account that has less."""
_OWN_LIMIT = lambda_svc._ACCOUNT_CONCURRENCY_CAP
"""MiniStack's own limit, for this machine's sake: a higher quota does not raise it."""
DISTRIBUTION = "AWS::CloudFront::Distribution"
_REFUSAL = (
    "Your account must be verified before you can add new CloudFront resources. To verify your account, "
    "please contact AWS Support (https://console.aws.amazon.com/support/home#/) and include this error "
    "message."
)


def install() -> None:
    """Hold the MiniStack of this process to the account's limits; SageMaker checks its own quotas."""
    _limit_memory(account_quotas.lambda_memory_mb)
    _limit_concurrency(lambda: int(account_quotas.lambda_concurrency().value))
    _require_verified_account(lambda: account_quotas.current_account().cloudfront_verified)


def _limit_memory(most_mb: Limit) -> None:
    """Refuse functions with more memory than the account allows, also those that CloudFormation makes."""
    create, update = lambda_svc._create_function, lambda_svc._update_config

    def create_function(data: Json) -> Any:
        return _refuse_memory(data, most_mb()) or create(data)

    def update_config(name: str, data: Json) -> Any:
        return _refuse_memory(data, most_mb()) or update(name, data)

    lambda_svc._create_function = create_function
    lambda_svc._update_config = update_config
    before_creating(
        FUNCTION, lambda _, properties: _refused_by_formation(_refuse_memory(properties, most_mb()))
    )


def _refuse_memory(asked: Json, most_mb: int) -> Any:
    if int(asked.get("MemorySize", 0)) <= most_mb:
        return None
    message = "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to "
    return error_response_json("ValidationException", f"{message}{most_mb}", 400)


def _limit_concurrency(most: Limit) -> None:
    """Throttle what exceeds the account's concurrency, and refuse reservations that leave too little."""

    def acquire(function: Json, configuration: Json) -> tuple[str | None, str | None]:
        own = lambda_svc._reserved_concurrency(function, configuration)
        key = lambda_svc._inflight_key(configuration)
        reserved = _reservations()
        shared = min(_OWN_LIMIT or most(), most()) - sum(reserved.values())
        with lambda_svc._inflight_lock:
            running = lambda_svc._inflight
            if own is not None and running.get(key, 0) >= own:
                return None, "function"
            if own is None and shared <= sum(
                count for name, count in running.items() if name.rpartition(":")[2] not in reserved
            ):
                return None, "account"
            running[key] = running.get(key, 0) + 1
            lambda_svc._inflight_total += 1
        return key, None

    put = lambda_svc._put_function_concurrency

    def put_concurrency(name: str, data: Json) -> Any:
        return _refuse_reservation(name, data, most()) or put(name, data)

    lambda_svc._acquire_execution_slot = acquire
    lambda_svc._put_function_concurrency = put_concurrency
    before_creating(
        FUNCTION,
        lambda name, asked: _refused_by_formation(_refuse_reservation(name, asked, most())),
    )
    _keep_reservations()
    _answer_account_settings(most)


def _reservations() -> dict[str, int]:
    """Return what each function has reserved, by the function's name."""
    functions = lambda_svc._functions
    asked = {name: functions[name].get("concurrency") for name in list(functions.keys())}
    return {name: int(value) for name, value in asked.items() if value is not None}


def _refuse_reservation(name: str, asked: Json, most: int) -> Any:
    if asked.get("ReservedConcurrentExecutions") is None:
        return None
    others = sum(value for other, value in _reservations().items() if other != name)
    least = min(LEAST_UNRESERVED, most)
    if most - others - int(asked["ReservedConcurrentExecutions"]) >= least:
        return None
    message = (
        "Specified ReservedConcurrentExecutions for function decreases account's "
        f"UnreservedConcurrentExecution below its minimum value of [{least}]."
    )
    return error_response_json("InvalidParameterValueException", message, 400)


def _refused_by_formation(refused: Any) -> str | None:
    """Word a refusal of Lambda's API as CloudFormation does. Its updates go through that API anyway."""
    if refused is None:
        return None
    why = json.loads(refused[2])["message"]
    return f'Resource handler returned message: "{why} (Service: Lambda, Status Code: 400)"'


def _keep_reservations() -> None:
    """Let CloudFormation reserve concurrency, which MiniStack's ignores."""
    kind = provisioners._RESOURCE_HANDLERS[FUNCTION]
    create = kind["create"]

    def provision(logical_id: str, properties: Json, stack: str) -> Any:
        created = create(logical_id, properties, stack)
        reserved = properties.get("ReservedConcurrentExecutions")
        if reserved is not None:
            lambda_svc._functions[created[0]]["concurrency"] = int(reserved)
        return created

    kind["create"] = provision


def _answer_account_settings(most: Limit) -> None:
    """Make GetAccountSettings answer the quota, not MiniStack's own limit."""
    original = lambda_svc._get_account_settings

    def settings() -> Any:
        status, headers, body = original()
        answer = json.loads(body)
        left = most() - sum(_reservations().values())
        answer["AccountLimit"] |= {"ConcurrentExecutions": most(), "UnreservedConcurrentExecutions": left}
        return status, headers, json.dumps(answer).encode()

    lambda_svc._get_account_settings = settings


def _require_verified_account(is_verified: Callable[[], bool]) -> None:
    """Refuse distributions as long as the account is not verified, also those that CloudFormation makes."""
    create = cloudfront._create_distribution

    def create_distribution(headers: dict[str, str], body: bytes) -> Any:
        if is_verified():
            return create(headers, body)
        return cloudfront._error("AccessDenied", _REFUSAL, 403)

    cloudfront._create_distribution = create_distribution
    before_creating(
        DISTRIBUTION,
        lambda *_: None if is_verified() else f"Access denied for operation '{DISTRIBUTION}: {_REFUSAL}'.",
    )
