"""How much may be asked at once."""

from chat_api.errors import ApiError
from shared import environment

UPLOAD_BYTES = 50 * 2**20
"""The greatest story file that a browser may send; larger ones go through the command line."""
_SERVED_TOKENS = 4096
_ANSWER_TOKENS = 512
_CHARACTERS_A_TOKEN = 3
"""A cautious guess: English has about four. The endpoint itself refuses what still does not fit."""


def prompt_characters() -> int:
    """Return how long all messages of a request may be together."""
    context = min(environment.common().base_model.context_length, _SERVED_TOKENS)
    return max(context - _ANSWER_TOKENS, context // 2) * _CHARACTERS_A_TOKEN


def check(characters: int) -> None:
    """Refuse a prompt that is too long.

    Raises:
        ApiError: 413, with the limit.
    """
    limit = prompt_characters()
    if characters > limit:
        raise ApiError(
            413,
            "prompt_too_long",
            f"The chat has {characters} characters; the model takes {limit}.",
            f"Shorten the prompt by {characters - limit} characters or more, or start a new chat.",
        )
