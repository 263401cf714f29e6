"""What each caller uses: tokens a day, requests a minute, and slots for answers that are written at once.

A caller is a person's `sub`, whose keys count in it; only the requests of a minute are counted by key, as
`key:<id>`. A day and a minute have an item each, which expires by itself (`expires_at`).

Lambda's concurrency is the account's: all its functions in a region share one pool, of ten in a new account,
and none of these can be reserved. An answer occupies one execution until it ends, and so does a stream that
waits minutes for the model to wake. If answers used the whole pool, neither the authorizer nor the endpoint
manager, which deletes the idle endpoint, could run (docs/decisions/0023). So the slots are limited.
"""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from contracts import table_keys
from shared import clock, table
from shared.aws import clients
from shared.table import Item

LONGEST_ANSWER_SECONDS = 900
"""The API's own timeout; an older entry was left by a function that died."""
_DAY_IS_KEPT, _MINUTE_IS_KEPT = 2 * 86_400, 3_600

_beside = ThreadPoolExecutor(16, thread_name_prefix="answer-slots")
_SLOTS_KEY = table_keys.ANSWER_SLOTS
KEPT_FREE = 4
"""Concurrent executions left for the authorizer, the endpoint manager and short requests."""
NEW_ACCOUNT_CONCURRENCY = 10
"""AWS's default for a new account, assumed until the endpoint manager has read the actual quota."""


@dataclass(frozen=True)
class RequestSlot:
    """The slot of one answer that is being written."""

    caller: str
    day: str
    entry: str
    """Id in the day's set of answers: `<request id>@<seconds since 1970>`."""


@dataclass(frozen=True)
class Today:
    """What a caller has used today (UTC)."""

    tokens: int = 0
    answering: int = 0
    """How many answers are being written for the caller now."""
    answering_all: int = 0
    """How many for all callers; counted when an answer begins."""
    most_answers: int = 1
    """How many there may be for all callers."""


def begin(caller: str) -> tuple[RequestSlot, Today]:
    """Acquire a slot for an answer, and count the caller's answers of today.

    One atomic write does both, so that two requests at once cannot both get the last slot.

    Returns:
        The slot for `end`, and the caller's usage of today with this answer in it.
    """
    slot = RequestSlot(caller, clock.day(), f"{uuid.uuid4().hex}@{_seconds()}")
    # In parallel with the other write, because the first token waits for both.
    account_slot = _beside.submit(acquire_account_slot, slot.entry, _is_stale)
    try:
        item = table.add(
            _partition(caller),
            slot.day,
            {"active": {slot.entry}},
            changes={"expires_at": _seconds() + _DAY_IS_KEPT},
        )
        answering_all, most_answers = account_slot.result()
    except BaseException:
        # Either write may have succeeded although the other failed.
        wait([account_slot])
        with suppress(BotoCoreError, ClientError):
            end(slot, tokens=0)
        raise
    return slot, replace(_today(item), answering_all=answering_all, most_answers=most_answers)


def end(slot: RequestSlot, tokens: int) -> None:
    """Release an answer's slot, and record its tokens."""
    release_account_slot(slot.entry)
    table.add(_partition(slot.caller), slot.day, {"tokens": tokens}, removals={"active": {slot.entry}})


def today(caller: str) -> Today:
    """Read what a caller has used today."""
    return _today(table.get(_partition(caller), clock.day()) or {})


def count_request(caller: str) -> int:
    """Count a request; returns how many there were in this minute, with this one."""
    expires_at = _seconds() + _MINUTE_IS_KEPT
    item = table.add(_partition(caller), clock.minute(), {"requests": 1}, changes={"expires_at": expires_at})
    return int(item["requests"])


def count_run(caller: str) -> int:
    """Count a run that a caller requests; returns how many there were today, with this one."""
    expires_at = _seconds() + _DAY_IS_KEPT
    item = table.add(_partition(caller), clock.day(), {"runs": 1}, changes={"expires_at": expires_at})
    return int(item["runs"])


def add_tokens(caller: str, tokens: int) -> None:
    """Count tokens that a caller's batch may take, in the day in which it is started."""
    expires_at = _seconds() + _DAY_IS_KEPT
    table.add(_partition(caller), clock.day(), {"tokens": tokens}, changes={"expires_at": expires_at})


def _today(item: Item) -> Today:
    fresh = [entry for entry in item.get("active", ()) if not _is_stale(entry)]
    return Today(tokens=int(item.get("tokens", 0)), answering=len(fresh))


def _is_stale(entry: str) -> bool:
    return _seconds() - int(entry.rpartition("@")[2]) > LONGEST_ANSWER_SECONDS


def _seconds() -> int:
    return int(clock.now().timestamp())


def _partition(caller: str) -> str:
    return table_keys.usage_of(caller)


def acquire_account_slot(entry: str, is_stale: Callable[[str], bool]) -> tuple[int, int]:
    """Acquire a slot and count those that are occupied, in one atomic write.

    Args:
        entry: id of the answer.
        is_stale: returns whether an entry was left by a function that died.

    Returns:
        The number of occupied slots, this one included, and the number of slots.
    """
    item = table.add(*_SLOTS_KEY, {"active": {entry}})
    active = set(item["active"])
    stale = {one for one in active if is_stale(one)}
    if stale:
        table.add(*_SLOTS_KEY, {}, removals={"active": stale})
    concurrency = int(item.get("concurrency", NEW_ACCOUNT_CONCURRENCY))
    return len(active - stale), max(1, concurrency - KEPT_FREE)


def release_account_slot(entry: str) -> None:
    """Release a slot. Repeating the call changes nothing."""
    table.add(*_SLOTS_KEY, {}, removals={"active": {entry}})


def record_concurrency() -> None:
    """Store how many functions the account may run at once, as Lambda reports it now."""
    limits = clients.lambdas().get_account_settings()["AccountLimit"]
    table.update(
        *_SLOTS_KEY, {"concurrency": limits["UnreservedConcurrentExecutions"], "seen_at": clock.stamp()}
    )
