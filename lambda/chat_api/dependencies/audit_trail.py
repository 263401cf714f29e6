"""Record every changing request in the audit trail."""

import asyncio
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_api.dependencies.identity import User
from shared.accounts import audit

log = Logger(service="chat_api")

NOT_RECORDED = frozenset(
    {
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/api/v1/completions"),
        ("POST", "/api/v1/answers/{answer_id}/cancel"),
    }
)
"""Routes that use the model; they change only the caller's own usage, which is counted elsewhere."""
_REPEATABLE = frozenset({("POST", "/api/wake")})
"""Routes that anybody may call repeatedly without changing anything."""
_FIRST_CLIENT_ERROR = 400
_FIRST_SERVER_ERROR = 500
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_MANY_REQUESTS = 429
_MAX_OBJECT_CHARACTERS = 512


class AuditTrail:
    """Middleware that records a request when its outcome is known, before the response ends.

    Lambda freezes the process when the response has ended, so nothing can be written after that.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record it if it changes something."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        status = 500
        recorded = False
        scope.setdefault("state", {})

        async def record_then_send(message: Message) -> None:
            nonlocal status, recorded
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body") and not recorded:
                recorded = True
                await asyncio.to_thread(_record, scope, status)
            await send(message)

        try:
            await self._app(scope, receive, record_then_send)
        except Exception:
            if not recorded:
                await asyncio.to_thread(_record, scope, 500)
            raise


def _record(scope: Scope, status: int) -> None:
    user, route = scope["state"].get("user"), scope.get("route")
    # Without a user the caller was refused, and without a route nothing could change.
    if user is None or route is None:
        return
    action = (scope["method"], _route_path(route))
    if action in NOT_RECORDED:
        return
    status = scope["state"].get("late_status", status)
    if status == _TOO_MANY_REQUESTS:
        return  # a refused request changed nothing, and a program in a loop must not fill the trail
    entry = _entry(scope, user, status)
    try:
        audit.add_entry(
            **entry, once_an_hour=_FIRST_CLIENT_ERROR <= status < _FIRST_SERVER_ERROR or action in _REPEATABLE
        )
    except (BotoCoreError, ClientError, RuntimeError):
        # The change has been made and cannot be undone, so record it in the log instead.
        log.exception("Could not write the audit trail", extra={"audit": entry})


def _entry(scope: Scope, user: User, status: int) -> dict[str, Any]:
    object_id = user.changed_object or "/".join(str(value) for value in scope.get("path_params", {}).values())
    return {
        "principal": user.sub,
        "principal_name": user.display_name,
        "action": f"{scope['method']} {_route_path(scope['route'])}",
        "object_id": object_id[:_MAX_OBJECT_CHARACTERS],
        "status": status,
    }


def _route_path(route: Any) -> str:
    # A route of an included router has its path without the prefix, which is the same for all.
    return f"/api{route.path_format}"
