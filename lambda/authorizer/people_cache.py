"""Look up what a person may do now, cached for less than a minute.

A token proves for an hour who somebody is. Whether they are still in the user pool, and in which role, is
read from the pool itself, so that a removal takes effect within a minute, even one made in Cognito's console.
"""

import time

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from shared.accounts import people

log = Logger(service="authorizer")

MAX_AGE_SECONDS = 45.0
"""The greatest age of a cached entry; with the time of the calls themselves it stays below a minute."""
REFRESH_AGE_SECONDS = 20.0
"""The age at which requests other than chats refresh an entry. The page polls the status every 30 seconds, so
a person who chats rarely waits for the pool."""
_MAX_CACHED_PEOPLE = 1000

_cache: dict[str, tuple[float, people.Person | None]] = {}


def current_person(sub: str, *, latency_sensitive: bool) -> people.Person | None:
    """Return the person with this id, or None if they have been removed or disabled.

    Args:
        sub: the pool's id of the person.
        latency_sensitive: whether an older cached entry is acceptable, because somebody waits for an answer's
            first token.

    Raises:
        botocore.exceptions.ClientError: the pool cannot be read, and the cached entry is too old.
    """
    asked_at, person = _cache.get(sub, (float("-inf"), None))
    age = _now() - asked_at
    if age >= (MAX_AGE_SECONDS if latency_sensitive else REFRESH_AGE_SECONDS):
        person = _read_pool(sub, age, person)
    return person if person is not None and person.enabled else None


def clear_cache() -> None:
    """Empty the cache, so that the next request reads the pool."""
    _cache.clear()


def _read_pool(sub: str, age: float, known: people.Person | None) -> people.Person | None:
    began = _now()
    try:
        person = people.get(sub)
    except (BotoCoreError, ClientError):
        if age >= MAX_AGE_SECONDS:
            raise
        log.warning("Could not read the user pool; using the cached entry", extra={"age_seconds": age})
        return known
    if len(_cache) >= _MAX_CACHED_PEOPLE:
        _cache.clear()
    _cache[sub] = (began, person)
    return person


def _now() -> float:
    # Not time.monotonic(), which may stop while Lambda freezes the process between two requests.
    return time.time()
