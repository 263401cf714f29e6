"""The keys of the table: its partitions, and its items with fixed keys.

The attributes of the items are in docs/contracts.md. Called with `*`, a function gives the pattern of its
partitions for IAM: `usage_of("*")` is `USAGE#*`.
"""

Key = tuple[str, str]
"""Partition key and sort key."""

RUNS = "RUNS"
"""Runs, by their id."""
APPROVALS = "APPROVALS"
"""Approvals before training, by the id of the run."""

LOCK = "LOCK"
PIPELINE_LOCK: Key = (LOCK, "PIPELINE")
"""The lock that lets one run be in progress at a time."""

TIMER = "TIMER"
FIRST_UPLOAD: Key = (TIMER, "QUIET")
"""When the first of the stories arrived that the next run will read."""

MODELS = "MODELS"
"""Versions, by their name."""

POINTERS = "POINTERS"
LIVE_VERSION: Key = (POINTERS, "LIVE")
"""The live version, and the one before it."""
VERSION_COUNTER: Key = (POINTERS, "VERSIONS")
"""The counter from which new versions get their names."""
LAST_TRAINING: Key = (POINTERS, "TRAINED")
"""The last run that trained, with the digest of its dataset."""

HOSTING = "HOSTING"
HOSTING_STATE: Key = (HOSTING, "STATE")
"""The state of the endpoint."""
METER: Key = (HOSTING, "METER")
"""The endpoint's meter: up to when its costs are counted, and its lease."""
ACTIVE_BATCHES: Key = (HOSTING, "BATCHES")
"""The ids of the active batches."""

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
    """Return the partition of the entries of a month."""
    return f"{LEDGER}#{month}"


def batches_of(owner: str) -> str:
    """Return the partition that lists the batches of one person or key."""
    return f"{BATCHES}#{owner}"


def usage_of(caller: str) -> str:
    """Return the partition of one caller's usage, by day and by minute."""
    return f"{USAGE}#{caller}"


def answer_partition(answer_id: str) -> str:
    """Return the partition of one answer that may be cancelled."""
    return f"ANSWER#{answer_id}"


def cancellation(answer_id: str) -> Key:
    """Return the key of the item that records an answer's caller, and its cancellation."""
    return answer_partition(answer_id), "ANSWER"


def repeated_requests(principal: str) -> str:
    """Return the partition that counts a caller's requests that share an entry of the audit trail."""
    return f"REPEATED#{principal}"
