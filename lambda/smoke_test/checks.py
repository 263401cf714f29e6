"""What a fresh endpoint must do before it replaces the one that is live."""

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
    """Ended by itself, rather than at the limit of tokens."""


class SmokeTestFailed(Exception):  # noqa: N818 - the state machine and the docs know it by this name
    """The new version does not answer as it should; the version before it was put back."""

    def __init__(self, message: str, *, blames_version: bool = True) -> None:
        """Say what happened.

        Args:
            message: with what to do.
            blames_version: False if the version was never tried, so that it may be deployed again as it is.
        """
        super().__init__(message)
        self.blames_version = blames_version


def judge(version: str, answers: list[EndpointAnswer]) -> str:
    """Check the answers to the smoke test's prompts.

    Returns:
        What was seen, in words.

    Raises:
        SmokeTestFailed: names what is wrong.
    """
    for answer in answers:
        if answer.model != version:
            raise SmokeTestFailed(
                f"{version} was asked but {answer.model!r} answered: is the adapter missing?"
            )
        if not answer.text.strip():
            raise SmokeTestFailed(f"{version} gave an empty answer.")
        if readable_share(answer.text) < 0.9:
            raise SmokeTestFailed(f"{version} answers with characters that are no text.")
    if any(answer.stopped for answer in answers):
        return f"{version} answers and stops."
    if not any(is_sound(answer) for answer in answers):
        raise SmokeTestFailed(f"{version} repeats itself and never stops.")
    return f"{version} answers; it was told to stop at the limit of the test."


def is_sound(answer: EndpointAnswer) -> bool:
    """Whether an answer ended by itself, or was going somewhere when it was told to stop: one is enough."""
    return answer.stopped or not loops(answer.text)


def readable_share(text: str) -> float:
    """Return the share of letters, marks, numbers, punctuation and spaces, in any script (0 to 1)."""
    good = sum(
        character.isspace() or (character != "\ufffd" and unicodedata.category(character)[0] in _READABLE)
        for character in text
    )
    return good / max(1, len(text))


def loops(text: str) -> bool:
    """Whether a text goes round in circles: few different words for its length."""
    words = text.lower().split()
    return len(words) >= _LOOP_WORDS and len(set(words)) / len(words) < 0.2
