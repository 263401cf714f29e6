"""How much may be asked: at once, in a minute and in a day. Each limit has one message."""

import math
from datetime import timedelta

from chat_api.dependencies.errors import ApiError
from chat_api.openai.openai_schema import AnswerRequest, ChatRequest
from contracts import environment
from shared import clock
from shared.answers import usage

UPLOAD_BYTES = 50 * 2**20
"""The greatest story file that a browser may send; larger ones go through the command line."""
BATCH_BYTES = 20 * 2**20
"""The greatest file of prompts of a batch."""
BATCH_LINES = 10_000
"""How many prompts a batch may have."""
MESSAGES = 200
"""How many messages a chat may have."""
ANSWERS_AT_ONCE = 4
"""How many answers may be written for one caller at the same time."""
RUNS_A_DAY = 20
"""How many runs one caller may start in a day, deployments of a version among them."""
CHARACTERS_A_TOKEN = 3
"""A cautious guess: English has about four. The endpoint itself refuses what still does not fit."""
_SERVED_TOKENS = 4096
_ANSWER_TOKENS = 512


def context_tokens() -> int:
    """Return how long a chat and its answer may be together."""
    return min(environment.common().base_model.context_length, _SERVED_TOKENS)


def prompt_characters(context: int) -> int:
    """Return how long all messages of a request may be together, with a context of so many tokens."""
    return max(context - _ANSWER_TOKENS, context // 2) * CHARACTERS_A_TOKEN


def daily_tokens() -> int:
    """Return how many tokens each caller may use in a day."""
    return environment.read(environment.Budget).daily_tokens


def check(request: AnswerRequest, context: int) -> None:
    """Refuse what is too long, or leaves no room for the answer that it asks for.

    Args:
        request: a chat or a completion.
        context: how many tokens it and its answer may have together.

    Raises:
        ApiError: 413 or 422, with the limit.
    """
    if isinstance(request, ChatRequest) and len(request.messages) > MESSAGES:
        raise _too_many_messages(len(request.messages))
    limit = prompt_characters(context)
    if request.characters > limit:
        raise _prompt_too_long(request, limit)
    left = context - tokens_of(request.characters)
    if request.answer_tokens > left:
        raise _answer_too_long(request, left)


def acquire_slot(caller: str) -> usage.RequestSlot:
    """Acquire a slot for one more answer to a caller.

    Returns:
        The slot, which `usage.end` releases.

    Raises:
        ApiError: 429 if the day's tokens are spent, or too many answers are being written, for this caller
            or for all.
    """
    slot, today = usage.begin(caller)
    refusal = _refusal(today)
    if refusal is not None:
        usage.end(slot, tokens=0)
        raise refusal
    return slot


def check_day(caller: str) -> None:
    """Refuse a caller whose tokens of the day are used up.

    Raises:
        ApiError: 429, with the limit.
    """
    today = usage.today(caller)
    if today.tokens >= daily_tokens():
        raise _budget_spent(today.tokens)


def admit_run(caller: str) -> None:
    """Count a run that somebody asks for, or a version that they have deployed.

    Raises:
        ApiError: 429 if they have asked for too many today.
    """
    if usage.count_run(caller) > RUNS_A_DAY:
        seconds = _seconds_until_midnight()
        raise ApiError(
            429,
            "too_many_runs",
            f"You have started {RUNS_A_DAY} runs today, the most that one caller may start; deploying a "
            "version counts as one.",
            "Try again after midnight UTC. New stories still start a run by themselves.",
            headers={"Retry-After": str(seconds), "x-should-retry": "false"},
        )


def check_rate(requests: int, limit: int) -> None:
    """Refuse a key that has asked too often in this minute.

    Raises:
        ApiError: 429, with the limit.
    """
    if requests > limit:
        seconds = 60 - clock.now().second
        raise ApiError(
            429,
            "too_many_requests",
            f"This key's rate limit of {limit} requests a minute is reached.",
            f"Wait {seconds} seconds, or make a key with a higher limit.",
            headers={"Retry-After": str(seconds)},
        )


def tokens_of(characters: int) -> int:
    """Guess how many tokens a text has."""
    return math.ceil(characters / CHARACTERS_A_TOKEN)


def _refusal(today: usage.Today) -> ApiError | None:
    if today.tokens >= daily_tokens():
        return _budget_spent(today.tokens)
    if today.answering > ANSWERS_AT_ONCE:
        return _too_many_at_once()
    if today.answering_all > today.most_answers:
        return _all_slots_taken(today.most_answers)
    return None


def _too_many_messages(messages: int) -> ApiError:
    return ApiError(
        413,
        "too_many_messages",
        f"The chat has {messages} messages; it may have {MESSAGES}.",
        f"Leave out the oldest {messages - MESSAGES} or more, or start a new chat.",
    )


def _prompt_too_long(request: AnswerRequest, limit: int) -> ApiError:
    over = request.characters - limit
    instead = ", or start a new chat" if isinstance(request, ChatRequest) else ""
    return ApiError(
        413,
        "prompt_too_long",
        f"The {request.named} has {request.characters} characters; the model takes {limit}.",
        f"Shorten the prompt by {over} characters or more{instead}.",
    )


def _answer_too_long(request: AnswerRequest, left: int) -> ApiError:
    return ApiError(
        422,
        "answer_too_long",
        f"max_tokens is {request.answer_tokens}; this {request.named} leaves the model room for {left}.",
        f"Ask for {left} tokens at most, or shorten the {request.named}.",
    )


def _budget_spent(tokens: int) -> ApiError:
    seconds = _seconds_until_midnight()
    return ApiError(
        429,
        "daily_budget_spent",
        f"Today's {daily_tokens()} tokens are used up: {tokens} were used.",
        "Go on after midnight UTC, or have daily_tokens_per_person raised in cdk.json.",
        # OpenAI's clients would try again at once: they do not wait for longer than a minute.
        headers={"Retry-After": str(seconds), "x-should-retry": "false"},
    )


def _too_many_at_once() -> ApiError:
    return ApiError(
        429,
        "too_many_at_once",
        f"{ANSWERS_AT_ONCE} answers are being written for you already, the most at the same time.",
        "Wait until one of them has ended, or stop one.",
        headers={"Retry-After": "5"},
    )


def _all_slots_taken(most: int) -> ApiError:
    return ApiError(
        429,
        "too_many_answers",
        f"{most} answers are being written for all callers, the most that the AWS account's concurrency "
        "allows.",
        'Ask again in a few seconds. To allow more: raise the quota "Concurrent executions" of AWS Lambda.',
        headers={"Retry-After": "5"},
    )


def _seconds_until_midnight() -> int:
    now = clock.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return math.ceil((midnight - now).total_seconds())
