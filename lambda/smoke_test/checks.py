"""Check the answers of a new version before it becomes live."""

import unicodedata
from dataclasses import dataclass

_READABLE = frozenset("LMNPZ")
_LOOP_WORDS = 30


@dataclass(frozen=True)
class EndpointAnswer:
    """One answer of the endpoint."""

    model: str
    text: str
    stopped: bool
    """Whether it ended by itself, rather than at the limit of tokens."""


class SmokeTestFailed(Exception):  # noqa: N818 - the state machine and the docs know it by this name
    """The new version did not pass; the live version was restored."""

    def __init__(self, message: str, *, blames_version: bool = True) -> None:
        """Create the error.

        Args:
            message: what happened, and what to do.
            blames_version: False if the version was not tried, so that it may be deployed again.
        """
        super().__init__(message)
        self.blames_version = blames_version


def judge(version: str, answers: list[EndpointAnswer]) -> str:
    """Check the answers to the smoke test's prompts.

    Returns:
        The result, in words.

    Raises:
        SmokeTestFailed: names what is wrong.
    """
    for answer in answers:
        if answer.model != version:
            raise SmokeTestFailed(
                f"{version} was requested, but {answer.model!r} answered. The adapter is probably missing."
            )
        if not answer.text.strip():
            raise SmokeTestFailed(f"{version} gave an empty answer.")
        if readable_share(answer.text) < 0.9:
            raise SmokeTestFailed(f"{version} answers with characters that are no text.")
    if any(answer.stopped for answer in answers):
        return f"{version} answers and stops."
    if not any(is_sound(answer) for answer in answers):
        raise SmokeTestFailed(f"{version} repeats itself and never stops.")
    return f"{version} answers; each answer reached the limit of the test."


def is_sound(answer: EndpointAnswer) -> bool:
    """Return whether an answer ended by itself or does not repeat itself; one such answer is enough."""
    return answer.stopped or not loops(answer.text)


def readable_share(text: str) -> float:
    """Return the share of letters, marks, numbers, punctuation and spaces, in any script (0 to 1)."""
    good = sum(
        character.isspace() or (character != "\ufffd" and unicodedata.category(character)[0] in _READABLE)
        for character in text
    )
    return good / max(1, len(text))


def loops(text: str) -> bool:
    """Return whether a text repeats itself: it has few distinct words for its length."""
    words = text.lower().split()
    return len(words) >= _LOOP_WORDS and len(set(words)) / len(words) < 0.2
