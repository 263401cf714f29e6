"""Every key of the table: its partitions, and the items that are alone in theirs or have a fixed name there.

The attributes of the items are in docs/contracts.md. Called with `*`, a function gives the pattern of its
partitions for IAM: `usage_of("*")` is `USAGE#*`.
"""

Key = tuple[str, str]
"""Partition key and sort key."""

RUNS = "RUNS"
"""Runs, by their id."""
APPROVALS = "APPROVALS"
"""Questions whether to train, by the id of the run that asks."""

LOCK = "LOCK"
PIPELINE_LOCK: Key = (LOCK, "PIPELINE")
"""The lock that lets one run be in progress at a time."""

TIMER = "TIMER"
FIRST_UPLOAD: Key = (TIMER, "QUIET")
"""Since when stories have been arriving that no run has yet."""

MODELS = "MODELS"
"""Versions, by their name."""

POINTERS = "POINTERS"
LIVE_VERSION: Key = (POINTERS, "LIVE")
"""The version that answers."""
VERSION_COUNTER: Key = (POINTERS, "VERSIONS")
"""The counter that versions are named by."""
LAST_TRAINING: Key = (POINTERS, "TRAINED")
"""What the last run that trained has trained on."""

HOSTING = "HOSTING"
HOSTING_STATE: Key = (HOSTING, "STATE")
"""What the endpoint does."""
METER: Key = (HOSTING, "METER")
"""Up to when the endpoint's cost is counted."""
ACTIVE_BATCHES: Key = (HOSTING, "BATCHES")
"""Batches that have a machine, or soon will."""

BATCHES = "BATCHES"
"""Batches, by their id."""

KEYS = "KEYS"
"""API keys, by their id."""

PEOPLE = "PEOPLE"
PEOPLE_LOCK: Key = (PEOPLE, "lock")
"""The lock that lets one change of people be in progress at a time."""

AUDIT = "AUDIT"
"""The audit trail, by time."""

USAGE = "USAGE"
ANSWER_SLOTS: Key = (USAGE, "ANSWERS")
"""The answers that are being written."""

PRICES = "PRICES"
LISTED_PRICES: Key = (PRICES, "LISTED")
"""The prices that AWS lists."""

LEDGER = "LEDGER"
"""Totals of the months, such as `2026-09`."""
OPEN_RESERVATIONS = "LEDGER#OPEN"
"""Reservations that are not settled, by kind and id."""


def ledger_entries(month: str) -> str:
    """Partition of the entries of a month."""
    return f"{LEDGER}#{month}"


def batches_of(owner: str) -> str:
    """Partition that lists the batches of one person or key."""
    return f"{BATCHES}#{owner}"


def usage_of(caller: str) -> str:
    """Partition of what one caller used, by day and by minute."""
    return f"{USAGE}#{caller}"


def answer_partition(answer_id: str) -> str:
    """Partition of one answer that may be cancelled."""
    return f"ANSWER#{answer_id}"


def cancellation(answer_id: str) -> Key:
    """Item that says whose answer it is, and whether it is cancelled."""
    return answer_partition(answer_id), "ANSWER"


def repeated_requests(principal: str) -> str:
    """Partition that counts what one caller did again and again, of which the audit trail has one entry."""
    return f"REPEATED#{principal}"
