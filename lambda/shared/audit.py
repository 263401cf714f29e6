"""The audit trail: who changed what, and when. Entries are added and never changed.

The API's role may put items into this partition and read them; a statement of its policy denies it to update
or delete them. The table forgets an entry after a year.

What somebody may repeat at will and changes nothing is one entry an hour. How often it came is counted beside
the trail, in `REPEATED#<principal>`, where the count can grow.
"""

import secrets

from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from shared import clock, table

PARTITION = "AUDIT"
KEPT_DAYS = 365
_MOST_AT_ONCE = 100
"""Of counts that one call reads."""


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
    count: int = 1
    """How often it came in that hour, with this outcome; more than once only of refusals and wakings."""


def record(
    *,
    principal: str,
    principal_name: str,
    action: str,
    object_id: str,
    status: int,
    once_an_hour: bool = False,
) -> None:
    """Add an entry.

    Args:
        principal: who.
        principal_name: what they are called now.
        action: method and route.
        object_id: to what.
        status: what came of it.
        once_an_hour: whether the same of this hour is counted instead, whatever it was done to.
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
        raise RuntimeError("An entry with this id is in the audit trail already.")


def newest(limit: int, before: str = "") -> list[AuditEntry]:
    """Read entries, newest first; with `before` those that are older than the entry with this id."""
    items = table.newest(PARTITION, limit, before=before)
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
    return f"REPEATED#{entry.principal}", f"{hour} {entry.status} {entry.action}"
