"""Limits of what callers may request and spend. Each limit has one message."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from chat_api.errors import ApiError
from chat_api.openai.requests import AnswerRequest, ChatRequest
from contracts import environment, statuses
from shared import clock, notifications
from shared.answers import usage
from shared.items import HostingState
from shared.spending import run_costs
from shared.spending.spending_refused import SpendingRefused

MAX_UPLOAD_BYTES = 50 * 2**20
"""The largest story file that a browser may upload; the command line uploads larger ones."""
MAX_BATCH_BYTES = 20 * 2**20
"""The largest file of prompts of a batch."""
MAX_BATCH_LINES = 10_000
"""The most prompts in a batch."""
MAX_MESSAGES = 200
"""The most messages in a chat."""
MAX_CONCURRENT_ANSWERS = 4
"""The most answers that may be written for one caller at the same time."""
MAX_RUNS_A_DAY = 20
"""The most runs that one caller may start in a day, including deployments of a version."""
CHARACTERS_A_TOKEN = 3
"""A cautious estimate, because English has about four. The endpoint itself refuses a prompt that is still too
long."""
_SERVED_TOKENS = 4096
_ANSWER_TOKENS = 512


def context_tokens() -> int:
    """Return the most tokens that a prompt and its answer may have together."""
    return min(environment.common().base_model.context_length, _SERVED_TOKENS)


def prompt_characters(context: int) -> int:
    """Return the most characters that all messages of a request may have, given the context in tokens."""
    return max(context - _ANSWER_TOKENS, context // 2) * CHARACTERS_A_TOKEN


def daily_tokens() -> int:
    """Return the most tokens that each caller may use in a day."""
    return environment.read(environment.TokenLimit).daily_tokens


def check_request(request: AnswerRequest, context: int) -> None:
    """Refuse a request that is too long, or leaves too little room for the requested answer.

    Args:
        request: a chat or a completion.
        context: the most tokens that it and its answer may have together.

    Raises:
        ApiError: a limit is exceeded.
    """
    if isinstance(request, ChatRequest) and len(request.messages) > MAX_MESSAGES:
        raise _too_many_messages_error(len(request.messages))
    limit = prompt_characters(context)
    if request.characters > limit:
        raise _prompt_too_long_error(request, limit)
    left = context - estimated_tokens(request.characters)
    if request.answer_tokens > left:
        raise _answer_too_long_error(request, left)


def acquire_answer_slot(caller: str) -> usage.RequestSlot:
    """Acquire a slot for another answer to a caller.

    Returns:
        The slot, which `usage.end` releases.

    Raises:
        ApiError: the day's tokens are spent, or too many answers are being written, for this caller or
            for all.
    """
    slot, today = usage.begin(caller)
    error = _slot_error(today)
    if error is not None:
        usage.end(slot, tokens=0)
        raise error
    return slot


def check_daily_tokens(caller: str) -> None:
    """Refuse a caller whose tokens of the day are used up.

    Raises:
        ApiError: the limit is reached.
    """
    today = usage.today(caller)
    if today.tokens >= daily_tokens():
        raise _tokens_spent_error(today.tokens)


def enforce_run_limit(caller: str) -> None:
    """Count a run, or the deployment of a version, that a caller starts.

    Raises:
        ApiError: the caller has started too many today.
    """
    if usage.count_run(caller) > MAX_RUNS_A_DAY:
        seconds = _seconds_until_midnight()
        raise ApiError(
            "too_many_runs",
            f"You have started {MAX_RUNS_A_DAY} runs today, the most that one caller may start; deploying a "
            "version counts as one.",
            "Try again after midnight UTC. New stories still start a run by themselves.",
            retry_after_seconds=seconds,
            should_retry=False,
        )


def check_key_rate(requests: int, limit: int) -> None:
    """Refuse a key that exceeds its rate limit.

    Raises:
        ApiError: the limit is reached.
    """
    if requests > limit:
        seconds = 60 - clock.now().second
        raise ApiError(
            "too_many_requests",
            f"This key's rate limit of {limit} requests a minute is reached.",
            f"Wait {seconds} seconds, or make a key with a higher limit.",
            retry_after_seconds=seconds,
        )


def estimated_tokens(characters: int) -> int:
    """Estimate the tokens of a text."""
    return math.ceil(characters / CHARACTERS_A_TOKEN)


@contextmanager
def spending_limit(refused: notifications.Refused) -> Iterator[None]:
    """Turn a refusal of the ledger into an error of the API, and notify the owner once a month.

    Args:
        refused: what is requested.

    Raises:
        ApiError: the month's limit would be exceeded.
    """
    try:
        yield
    except SpendingRefused as refusal:
        notifications.send_monthly(refused, f"{refusal} {refusal.cure}")
        # OpenAI's clients would retry, but only a higher limit or the next month helps.
        raise ApiError(refusal.code, str(refusal), refusal.cure, should_retry=False) from refusal


def require_run_budget() -> None:
    """Refuse a run if the month's limit leaves too little for its training, evaluation and deployment.

    Raises:
        ApiError: the month's limit would be exceeded.
    """
    with spending_limit("run"):
        run_costs.require_budget_for_run()


def require_endpoint_budget() -> None:
    """Refuse to start the endpoint if the month's limit leaves too little for it.

    Raises:
        ApiError: the month's limit would be exceeded.
    """
    with spending_limit("model"):
        run_costs.require_budget_for_start()


def require_wake_budget(state: HostingState) -> None:
    """Refuse to wake a model if the month's limit leaves too little for its instance.

    Raises:
        ApiError: the month's limit would be exceeded.
    """
    if state.status in {statuses.ASLEEP, statuses.FAILING}:
        require_endpoint_budget()


def _slot_error(today: usage.Today) -> ApiError | None:
    if today.tokens >= daily_tokens():
        return _tokens_spent_error(today.tokens)
    if today.answering > MAX_CONCURRENT_ANSWERS:
        return _too_many_for_caller_error()
    if today.answering_all > today.most_answers:
        return _too_many_for_all_error(today.most_answers)
    return None


def _too_many_messages_error(messages: int) -> ApiError:
    return ApiError(
        "too_many_messages",
        f"The chat has {messages} messages; it may have {MAX_MESSAGES}.",
        f"Leave out the oldest {messages - MAX_MESSAGES} or more, or start a new chat.",
    )


def _prompt_too_long_error(request: AnswerRequest, limit: int) -> ApiError:
    over = request.characters - limit
    instead = ", or start a new chat" if isinstance(request, ChatRequest) else ""
    return ApiError(
        "prompt_too_long",
        f"The {request.prompt_name} has {request.characters} characters; the model takes {limit}.",
        f"Shorten the prompt by {over} characters or more{instead}.",
    )


def _answer_too_long_error(request: AnswerRequest, left: int) -> ApiError:
    return ApiError(
        "answer_too_long",
        f"max_tokens is {request.answer_tokens}; this {request.prompt_name} leaves the model room for "
        f"{left}.",
        f"Ask for {left} tokens at most, or shorten the {request.prompt_name}.",
    )


def _tokens_spent_error(tokens: int) -> ApiError:
    seconds = _seconds_until_midnight()
    return ApiError(
        "daily_budget_spent",
        f"Today's {daily_tokens()} tokens are used up: {tokens} were used.",
        "Continue after midnight UTC, or have daily_tokens_per_person raised in cdk.json.",
        # OpenAI's clients would try again at once: they do not wait for longer than a minute.
        retry_after_seconds=seconds,
        should_retry=False,
    )


def _too_many_for_caller_error() -> ApiError:
    return ApiError(
        "too_many_at_once",
        f"{MAX_CONCURRENT_ANSWERS} answers are being written for you, the most at the same time.",
        "Wait until one of them ends, or stop one.",
        retry_after_seconds=5,
    )


def _too_many_for_all_error(most: int) -> ApiError:
    return ApiError(
        "too_many_answers",
        f"{most} answers are being written for all callers, the most that the AWS account's concurrency "
        "allows.",
        'Ask again in a few seconds. To allow more: raise the quota "Concurrent executions" of AWS Lambda.',
        retry_after_seconds=5,
    )


def _seconds_until_midnight() -> int:
    now = clock.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return math.ceil((midnight - now).total_seconds())
