"""What a pass of the clean-up could not remove yet, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

_REFUSALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True)
class Remaining:
    """One thing that is still there."""

    what: str
    why: str
    refused: bool = False
    """Whether waiting does not help: a permission is missing."""

    def __str__(self) -> str:
        return f"{self.what} ({self.why})"


def attempt(what: str, step: Callable[[], list[Remaining]]) -> list[Remaining]:
    """Run one step of a pass. An error becomes what remains, so that the other steps go on.

    Args:
        what: the step removes, for the message.
        step: returns what is still there after it.
    """
    try:
        return step()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        return [Remaining(what, f"{code}: {message}", refused=code in _REFUSALS)]
    except BotoCoreError as error:
        return [Remaining(what, str(error))]


def is_missing(error: ClientError) -> bool:
    """Whether AWS answers that what was to be removed does not exist."""
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"].lower()
    missing = ("ResourceNotFound", "ResourceNotFoundException", "StateMachineDoesNotExist")
    return code in missing or "could not find" in message or "does not exist" in message
