"""Look up what a person may do now, cached for less than a minute.

A token proves for an hour who somebody is. Whether they are still in the user pool, and in which role, is
read from the pool itself, so that a removal takes effect within a minute, even one made in Cognito's console.
"""

import time

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from shared.accounts import people

log = Logger(service="authorizer")

LONGEST_SECONDS = 45.0
"""The greatest age of a cached entry. Together with the calls themselves it stays below a minute."""
FRESH_SECONDS = 20.0
"""The age at which requests other than chats refresh an entry. The page polls the status every 30 seconds, so
a person who chats rarely waits for the pool."""
_MOST_PEOPLE = 1000

_known: dict[str, tuple[float, people.Person | None]] = {}


def of(sub: str, *, latency_sensitive: bool) -> people.Person | None:
    """Return the person with this id, or None if they have been removed or disabled.

    Args:
        sub: the pool's id of the person.
        latency_sensitive: whether an older cached entry is acceptable, because somebody waits for an answer's
            first token.

    Raises:
        botocore.exceptions.ClientError: the pool cannot be read, and the cached entry is too old.
    """
    asked_at, person = _known.get(sub, (float("-inf"), None))
    age = _now() - asked_at
    if age >= (LONGEST_SECONDS if latency_sensitive else FRESH_SECONDS):
        person = _ask(sub, age, person)
    return person if person is not None and person.enabled else None


def clear_cache() -> None:
    """Empty the cache, so that the next request reads the pool."""
    _known.clear()


def _ask(sub: str, age: float, known: people.Person | None) -> people.Person | None:
    began = _now()
    try:
        person = people.get(sub)
    except (BotoCoreError, ClientError):
        if age >= LONGEST_SECONDS:
            raise
        log.warning("Could not read the user pool; using the cached entry", extra={"age_seconds": age})
        return known
    if len(_known) >= _MOST_PEOPLE:
        _known.clear()
    _known[sub] = (began, person)
    return person


def _now() -> float:
    # Not time.monotonic(), which may stop while Lambda freezes the process between two requests.
    return time.time()
