"""Limit how many answers are written at once for all callers, so that other functions can run too.

Lambda's concurrency is the account's: all its functions in a region share one pool, of ten in a new account,
where none can be reserved. An answer occupies one execution until it ends, and so does a stream that waits
minutes for the model to wake. If answers used the whole pool, neither the authorizer nor the keeper, which
deletes the idle endpoint, could run (docs/decisions/0023).
"""

from collections.abc import Callable

from contracts import table_keys
from shared import clock
from shared.aws import clients
from shared.table import table

_KEY = table_keys.ANSWER_SLOTS
KEPT_FREE = 4
"""Concurrent executions left for the authorizer, the keeper and short requests."""
NEW_ACCOUNT_CONCURRENCY = 10
"""AWS's default for a new account, assumed until the keeper has read the actual quota."""


def acquire(entry: str, is_stale: Callable[[str], bool]) -> tuple[int, int]:
    """Acquire a slot and count those that are occupied, in one atomic write.

    Args:
        entry: id of the answer.
        is_stale: returns whether an entry was left by a function that died.

    Returns:
        The number of occupied slots, this one included, and the number of slots.
    """
    item = table.add(*_KEY, {"active": {entry}})
    active = set(item["active"])
    stale = {one for one in active if is_stale(one)}
    if stale:
        table.add(*_KEY, {}, removals={"active": stale})
    concurrency = int(item.get("concurrency", NEW_ACCOUNT_CONCURRENCY))
    return len(active - stale), max(1, concurrency - KEPT_FREE)


def release(entry: str) -> None:
    """Release a slot. Repeating the call changes nothing."""
    table.add(*_KEY, {}, removals={"active": {entry}})


def record_concurrency() -> None:
    """Store how many functions the account may run at once, as Lambda reports it now."""
    limits = clients.lambdas().get_account_settings()["AccountLimit"]
    table.update(*_KEY, {"concurrency": limits["UnreservedConcurrentExecutions"], "seen_at": clock.stamp()})
