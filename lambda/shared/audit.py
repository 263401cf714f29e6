"""The audit trail: who changed what, and when. Entries are added and never changed.

The API's role may put items into this partition and read them; a statement of its policy denies it to update
or delete them. The table forgets an entry after a year.
"""

import secrets

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from shared import clock, table

PARTITION = "AUDIT"
KEPT_DAYS = 365


class AuditEntry(BaseModel):
    """One request that changed something, or tried to."""

    model_config = ConfigDict(extra="ignore")

    entry_id: str
    """Its place in the trail: the time, then chance."""
    at: clock.Utc
    principal: str
    """Id of the person in the user pool, or `key:<id>`."""
    principal_name: str
    """What the person or key was called then."""
    action: str
    """Method and route, such as `POST /api/runs/{run_id}/approve`."""
    object: str
    """What it was done to: the id of a run, version, key or person, or a story's key; else empty."""
    status: int
    """The HTTP status: what came of it."""


def record(*, principal: str, principal_name: str, action: str, object_id: str, status: int) -> AuditEntry:
    """Add an entry."""
    now = clock.now()
    entry = AuditEntry(
        entry_id=f"{clock.text(now)}#{secrets.token_hex(4)}",
        at=clock.text(now),
        principal=principal,
        principal_name=principal_name,
        action=action,
        object=object_id,
        status=status,
    )
    kept = {**entry.model_dump(), "expires_at": int(now.timestamp()) + KEPT_DAYS * 86_400}
    if not table.put(PARTITION, entry.entry_id, kept, only_if=Attr("pk").not_exists()):
        raise RuntimeError("An entry with this id is in the audit trail already.")
    return entry


def newest(limit: int, before: str = "") -> list[AuditEntry]:
    """Read entries, newest first; with `before` those that are older than the entry with this id."""
    return [AuditEntry.model_validate(item) for item in table.newest(PARTITION, limit, before=before)]
