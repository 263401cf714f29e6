"""What each caller uses: tokens a day, answers at once, and how often a key asks in a minute.

A caller is a person's `sub`, whose keys count in it; only the requests of a minute are counted by key, as
`key:<id>`. A day and a minute have an item each, which the table forgets by itself (`expires_at`).
"""

import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from contracts import table_keys
from shared import clock
from shared.answers import answer_slots
from shared.table import table
from shared.table.table import Item

LONGEST_ANSWER_SECONDS = 900
"""The API's own timeout; an older entry was left by a function that died."""
_DAY_IS_KEPT, _MINUTE_IS_KEPT = 2 * 86_400, 3_600

_beside = ThreadPoolExecutor(16, thread_name_prefix="answer-slots")


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
    account_slot = _beside.submit(answer_slots.acquire, slot.entry, _is_stale)
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
    answer_slots.release(slot.entry)
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
    """Count a run that a caller asks for; returns how many there were today, with this one."""
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
