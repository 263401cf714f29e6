"""Marks in the table that an answer is cancelled.

AWS does not tell a function that its client has disconnected. So cancelling an answer leaves a mark in the
table, and the function that writes the answer, usually another process, looks for it. The item of an answer
belongs to the first caller that names it: by requesting it, or by cancelling it.
"""

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock, table

_KEPT_SECONDS = 3_600
"""Longer than any answer can take, so that a mark holds for one that begins late."""


def claim(answer_id: str, caller: str) -> bool:
    """Claim an answer for a caller. Returns False if it is another caller's."""
    return _write(answer_id, caller, {})


def mark_cancelled(answer_id: str, caller: str) -> bool:
    """Mark an answer as cancelled, whether or not it has begun. Returns False if it is another caller's."""
    return _write(answer_id, caller, {"cancelled_at": clock.stamp()})


def is_cancelled(answer_id: str, caller: str) -> bool:
    """Return whether the caller has cancelled this answer."""
    item = table.get(*table_keys.cancellation(answer_id)) or {}
    return "cancelled_at" in item and item.get("caller") == caller


def _write(answer_id: str, caller: str, more: dict[str, str]) -> bool:
    expires_at = int(clock.now().timestamp()) + _KEPT_SECONDS
    return table.update(
        *table_keys.cancellation(answer_id),
        {"caller": caller, "expires_at": expires_at, **more},
        only_if=Attr("caller").not_exists() | Attr("caller").eq(caller),
    )
