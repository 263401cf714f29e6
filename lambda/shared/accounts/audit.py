"""Keep the audit trail: who changed what, and when. Entries are added and never changed.

The API's role may put items into this partition and query it; a statement of its policy denies updates and
deletions. An entry expires after a year.

Requests that can be repeated without changing anything get one entry per hour. Their number is counted
outside the trail, in `REPEATED#<principal>`, because entries of the trail cannot be updated.
"""

import secrets

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from contracts import table_keys
from shared import clock, table

PARTITION = table_keys.AUDIT
KEPT_DAYS = 365
_MOST_AT_ONCE = 100
"""The most counts that one call to DynamoDB reads."""


class AuditEntry(BaseModel):
    """One request that changed something or tried to."""

    model_config = ConfigDict(extra="ignore")

    entry_id: str
    """The sort key: the time, then a random part."""
    at: clock.Utc
    principal: str
    """Id of the person in the user pool, or `key:<id>`."""
    principal_name: str
    """The name of the person or key at that time."""
    action: str
    """Method and route, such as `POST /api/runs/{run_id}/approve`."""
    object: str
    """Id of the run, version, key or person, or the story's key; empty if the request names none."""
    status: int
    """The HTTP status of the response."""
    count: int = 1
    """Number of such requests with this status in that hour; above 1 only for 403 refusals and wakes."""


def add_entry(
    *,
    principal: str,
    principal_name: str,
    action: str,
    object_id: str,
    status: int,
    once_an_hour: bool = False,
) -> None:
    """Add an entry to the audit trail.

    Args:
        principal: id of the person in the user pool, or `key:<id>`.
        principal_name: the current name of the person or key.
        action: method and route.
        object_id: id of what the request was about.
        status: HTTP status of the response.
        once_an_hour: whether later requests of this hour with the same action and status are only counted.
    """
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
    expires_at = int(now.timestamp()) + KEPT_DAYS * 86_400
    if once_an_hour:
        counted = table.add(*_counter(entry), {"n": 1}, changes={"expires_at": expires_at})
        if counted["n"] > 1:
            return
    kept = {**entry.model_dump(exclude={"count"}), "once_an_hour": once_an_hour, "expires_at": expires_at}
    if not table.put(PARTITION, entry.entry_id, kept, only_if=Attr("pk").not_exists()):
        raise RuntimeError("The audit trail already has an entry with this id; the new one was not written.")


def newest_entries(limit: int, before: str = "") -> list[AuditEntry]:
    """Read entries, newest first; with `before` only those older than the entry with that id."""
    items = table.query_newest(PARTITION, limit, before=before)
    entries = [AuditEntry.model_validate(item) for item in items]
    counters = [
        _counter(entry) for entry, item in zip(entries, items, strict=True) if item.get("once_an_hour")
    ]
    counts: dict[tuple[str, str], int] = {}
    for start in range(0, len(counters), _MOST_AT_ONCE):
        some = counters[start : start + _MOST_AT_ONCE]
        found = zip(some, table.get_all(some), strict=True)
        counts |= {place: int(item["n"]) for place, item in found if item is not None}
    return [entry.model_copy(update={"count": counts.get(_counter(entry), 1)}) for entry in entries]


def _counter(entry: AuditEntry) -> tuple[str, str]:
    hour = entry.at[:13]
    return table_keys.repeated_requests(entry.principal), f"{hour} {entry.status} {entry.action}"
