"""What API Gateway records of every request of a REST API: its metrics, and a line in the access log.

A 5XXError is any answer of 500 and above, from API Gateway or from the function: a function that answers 503
counts as much as one that crashed.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
"""

import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from local.plugin import ministack_cloudwatch, ministack_log_metrics, ministack_requests
from local.plugin.ministack_adapter import Response
from local.plugin.ministack_requests import RestRequest

_NOTHING = "-"
"""What stands in the access log for a variable without a value."""


def install() -> None:
    """Add it to the MiniStack of this process."""
    ministack_requests.keep_access_log_settings()
    ministack_requests.wrap_rest_requests(_recorded)


async def _recorded(request: RestRequest, answer: Callable[[], Awaitable[Response]]) -> Response:
    started = time.time()
    response = await answer()
    status, headers = response[0], response[1]
    if request.stage is None:
        return response
    values = {
        "Count": 1.0,
        "4XXError": float(400 <= status < 500),
        "5XXError": float(status >= 500),
        "Latency": (time.time() - started) * 1000,
    }
    of_api = {"ApiName": request.api_name}
    for dimensions in (of_api, {**of_api, "Stage": request.stage_name}):
        ministack_cloudwatch.record("AWS/ApiGateway", values, dimensions)
    logging = request.stage.get("accessLogSettings") or {}
    if logging.get("destinationArn") and logging.get("format"):
        line = _line(logging["format"], _variables(request, status, headers, started))
        group = logging["destinationArn"].split(":log-group:")[1].removesuffix(":*")
        ministack_log_metrics.write_line(group, f"{datetime.now(UTC):%Y-%m-%d}", line, int(started * 1000))
    return response


def _variables(request: RestRequest, status: int, headers: dict[str, str], started: float) -> dict[str, str]:
    """Return the values of `$context`, as far as the local cloud has them."""
    # The header is on every answer that API Gateway itself gives, and on none of a function's.
    by_gateway = any(name.lower() == "x-amzn-errortype" for name in headers)
    return {
        "requestId": str(uuid.uuid4()),
        "identity.sourceIp": "127.0.0.1",
        "requestTime": f"{datetime.fromtimestamp(started, UTC):%d/%b/%Y:%H:%M:%S +0000}",
        "httpMethod": request.method,
        "protocol": "HTTP/1.1",
        "status": str(status),
        "integration.status": _NOTHING if by_gateway else str(status),
    }


def _line(form: str, variables: dict[str, str]) -> dict[str, Any]:
    filled = re.sub(r"\$context\.([\w.]+)", lambda found: variables.get(found[1], _NOTHING), form)
    line: dict[str, Any] = json.loads(filled)
    return line
