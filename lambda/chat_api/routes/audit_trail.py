"""Record every changing request in the audit trail, and serve the trail to owners."""

import asyncio
from typing import Annotated, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_api.dependencies.errors import refusals
from chat_api.dependencies.identity import MayManagePeople, User
from shared.accounts import audit
from shared.accounts.audit import AuditEntry

log = Logger(service="chat_api")
router = APIRouter(prefix="/audit", tags=["People"], responses=refusals())

NOT_RECORDED = frozenset(
    {
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/api/v1/completions"),
        ("POST", "/api/v1/answers/{answer_id}/cancel"),
    }
)
"""Routes that use the model: they change only the caller's own usage, which is counted elsewhere."""
_REPEATABLE = frozenset({("POST", "/api/wake")})
"""Routes that anybody may call repeatedly without changing anything."""
_FIRST_REFUSAL = 400
_FIRST_ERROR = 500
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_MANY_REQUESTS = 429
_LONGEST_OBJECT = 512


class AuditPage(BaseModel):
    """A page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next_before: str | None
    """The value of `before` for the next page; null on the last page."""


@router.get("", responses=refusals(422))
def read_audit_trail(
    user: MayManagePeople,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str, Query(pattern=r"^[0-9A-Za-z:.#-]{0,64}$")] = "",
) -> AuditPage:
    """List who changed what, newest first. The trail contains no stories, prompts or secrets."""
    entries = audit.newest_entries(limit, before)
    more = len(entries) == limit
    return AuditPage(entries=entries, next_before=entries[-1].entry_id if more else None)


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
    # Without a user the caller was refused, and without a route there was nothing to change.
    if user is None or route is None:
        return
    asked = (scope["method"], _path_of(route))
    if asked in NOT_RECORDED:
        return
    status = scope["state"].get("late_status", status)
    if status == _TOO_MANY_REQUESTS:
        return  # a refused request changed nothing, and a program in a loop must not fill the trail
    entry = _entry(scope, user, status)
    try:
        audit.add_entry(**entry, once_an_hour=_FIRST_REFUSAL <= status < _FIRST_ERROR or asked in _REPEATABLE)
    except (BotoCoreError, ClientError, RuntimeError):
        # The change has been made and cannot be undone, so record it in the log instead.
        log.exception("Could not write the audit trail", extra={"audit": entry})


def _entry(scope: Scope, user: User, status: int) -> dict[str, Any]:
    named = user.changed_object or "/".join(str(value) for value in scope.get("path_params", {}).values())
    return {
        "principal": user.sub,
        "principal_name": user.called,
        "action": f"{scope['method']} {_path_of(scope['route'])}",
        "object_id": named[:_LONGEST_OBJECT],
        "status": status,
    }


def _path_of(route: Any) -> str:
    # A route of an included router has its path without the prefix, which is the same for all.
    return f"/api{route.path_format}"
