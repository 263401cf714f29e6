"""How many answers may be written at once for all callers together, so that other functions can run too.

Lambda's concurrency belongs to the account: all its functions in a region share one pool, of ten in a new
account, where nothing can be reserved. An answer occupies a place in it until its last word, and so does a
stream that waits minutes for the model to wake. If answers took all places, neither the authorizer nor the
keeper, which ends the endpoint's bill, would run (docs/decisions/0023).
"""

from collections.abc import Callable

from shared import aws, clock, table

_KEY = ("USAGE", "ANSWERS")
KEPT_FREE = 4
"""Places that no answer takes: for the authorizer, the keeper, and requests that are answered at once."""
NEW_ACCOUNT_CONCURRENCY = 10
"""Assumed until the keeper has asked: what AWS gives a new account."""


def acquire(entry: str, is_stale: Callable[[str], bool]) -> tuple[int, int]:
    """Occupy a slot, in one atomic write that also counts.

    Args:
        entry: names the answer.
        is_stale: tells the entries of functions that died.

    Returns:
        How many slots are occupied, with this one; and how many there are.
    """
    item = table.add(*_KEY, {"active": {entry}})
    active = set(item["active"])
    stale = {one for one in active if is_stale(one)}
    if stale:
        table.add(*_KEY, {}, removals={"active": stale})
    concurrency = int(item.get("concurrency", NEW_ACCOUNT_CONCURRENCY))
    return len(active - stale), max(1, concurrency - KEPT_FREE)


def release(entry: str) -> None:
    """Free a slot; again changes nothing."""
    table.add(*_KEY, {}, removals={"active": {entry}})


def record_concurrency() -> None:
    """Write down how many functions the account may run at once, as Lambda says now."""
    limits = aws.lambdas().get_account_settings()["AccountLimit"]
    table.update(*_KEY, {"concurrency": limits["UnreservedConcurrentExecutions"], "seen_at": clock.stamp()})
