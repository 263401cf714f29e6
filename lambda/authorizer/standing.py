"""What a person may do now, remembered for less than a minute.

A token says for an hour who somebody is. Whether they are still in the pool, and in which role, is asked of
the pool itself, so that a removal counts within a minute, also one in Cognito's console.
"""

import time

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from shared import people

log = Logger(service="authorizer")

LONGEST_SECONDS = 45.0
"""No answer of the pool is used for longer. Together with the calls themselves it is less than a minute."""
FRESH_SECONDS = 20.0
"""Requests other than for an answer of the model ask the pool again after this. The page's look at the status
every half minute is one, so that somebody who chats hardly ever waits for the pool."""
_MOST_PEOPLE = 1000

_known: dict[str, tuple[float, people.Person | None]] = {}


def of(sub: str, *, hurried: bool) -> people.Person | None:
    """Return the person with this id, or None if they have been removed or disabled.

    Args:
        sub: the pool's id of the person.
        hurried: somebody waits for the first word of an answer.

    Raises:
        botocore.exceptions.ClientError: the pool does not answer, and what it said before is too old.
    """
    asked_at, person = _known.get(sub, (float("-inf"), None))
    age = _now() - asked_at
    if age >= (LONGEST_SECONDS if hurried else FRESH_SECONDS):
        person = _ask(sub, age, person)
    return person if person is not None and person.enabled else None


def forget() -> None:
    """Forget everybody: the next request asks the pool."""
    _known.clear()


def _ask(sub: str, age: float, known: people.Person | None) -> people.Person | None:
    began = _now()
    try:
        person = people.get(sub)
    except (BotoCoreError, ClientError):
        if age >= LONGEST_SECONDS:
            raise
        log.warning("The user pool did not answer; what it said before is used", extra={"seconds": age})
        return known
    if len(_known) >= _MOST_PEOPLE:
        _known.clear()
    _known[sub] = (began, person)
    return person


def _now() -> float:
    # Lambda may freeze the process between two requests; this clock goes on meanwhile.
    return time.time()
