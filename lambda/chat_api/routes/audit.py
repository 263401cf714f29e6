"""The route that lists the audit trail, for owners."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from chat_api.dependencies.identity import RequirePeopleScope
from chat_api.dependencies.responses import error_responses
from shared.accounts import audit
from shared.accounts.audit import AuditEntry

router = APIRouter(prefix="/audit", tags=["People"], responses=error_responses())


class AuditPage(BaseModel):
    """A page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next_before: str | None
    """The value of `before` for the next page; null on the last page."""


@router.get("", responses=error_responses(422))
def read_audit_trail(
    user: RequirePeopleScope,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str, Query(pattern=r"^[0-9A-Za-z:.#-]{0,64}$")] = "",
) -> AuditPage:
    """List who changed what, newest first. The trail contains no stories, prompts or secrets."""
    entries = audit.newest_entries(limit, before)
    more = len(entries) == limit
    return AuditPage(entries=entries, next_before=entries[-1].entry_id if more else None)
