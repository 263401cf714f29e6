"""Routes of the model's status: show it with the caller's limits, wake the model, and put it to sleep."""

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel

from chat_api.dependencies.identity import RequireChatScope, RequireWriteScope, User
from chat_api.dependencies.responses import error_responses
from chat_api.services import costs, limits, model_access, run_history
from contracts import environment, statuses
from contracts.statuses import HostingStatus
from shared import clock
from shared.answers import usage
from shared.batch_inference import batch_records
from shared.hosting import endpoint_configs
from shared.items import HostingState, LivePointer, Run
from shared.models import versions
from shared.runs import run_records

router = APIRouter(tags=["Pipeline"], responses=error_responses())


class HostingInfo(BaseModel):
    """Whether the model answers now, and what it costs."""

    status: HostingStatus
    version: str | None
    since: clock.Utc | None
    message: str | None
    expected_seconds: int | None = None
    """While it wakes: an estimate of how long until it answers."""
    instance: str | None = None
    """The instance that hosts it, or that will host it while it wakes."""
    cost_this_month_usd: float | None
    """What everything has cost since the month began (UTC): trainings, evaluations, searches, batches and the
    endpoint. What runs now is counted every five minutes. None if the price of an instance is not known."""
    price_date: str
    """The month of the instance's price; empty if it is not known."""

    def visible_to(self, user: User) -> Self:
        """Return it without the month's cost if the caller may not read that."""
        return self if "read" in user.scopes else self.model_copy(update={"cost_this_month_usd": None})


class LiveVersion(BaseModel):
    """The version that answers."""

    version: str
    run_id: str
    base_perplexity: float | None
    tuned_perplexity: float | None
    created_at: clock.Utc


class BaseModelInfo(BaseModel):
    """The open model that is fine-tuned."""

    name: str
    id: str


class CallerLimits(BaseModel):
    """The limits of the caller's requests."""

    messages: int
    """The most messages in a chat."""
    prompt_characters: int
    """The most characters in all messages of a chat."""
    context_tokens: int
    """The most tokens in a chat and its answer."""
    answers_at_once: int
    """The most answers that are written for one caller at the same time."""
    requests_per_minute: int | None
    """The rate limit of the key; null for a person."""
    upload_bytes: int
    """The largest story file."""
    batch_bytes: int
    """The largest file of prompts."""
    batch_lines: int
    """The most prompts in a batch."""
    batches_at_once: int
    """The most batches of all people that run at the same time."""


class TokenUsage(BaseModel):
    """The caller's tokens of the day, which begins at midnight UTC."""

    tokens_today: int
    daily_tokens: int
    """The most tokens of a day."""


class Status(BaseModel):
    """Everything the page shows at a glance."""

    hosting: HostingInfo
    live: LiveVersion | None
    run: Run | None
    """The newest run; also null if the caller may not read runs."""
    base_model: BaseModelInfo
    models: list[str]
    """The names that `GET /api/v1/models` lists; empty before the first version."""
    limits: CallerLimits
    usage: TokenUsage


@router.get("/status", response_model_exclude_none=False)
def get_status(user: RequireChatScope) -> Status:
    """Show the state of the model and of the newest run, and the caller's limits."""
    base = environment.common().base_model
    newest = run_records.latest(1)
    pointer = versions.live()
    return Status(
        hosting=_hosting_info(model_access.current_state()).visible_to(user),
        live=_live_version(pointer),
        run=run_history.with_current_step(newest[0]) if newest and "read" in user.scopes else None,
        base_model=BaseModelInfo(name=base.name, id=base.id),
        models=model_access.loaded_names(pointer) if pointer else [],
        limits=_limits(user),
        usage=TokenUsage(tokens_today=usage.today(user.account).tokens, daily_tokens=limits.daily_tokens()),
    )


@router.post("/wake", status_code=202, responses=error_responses(402, 409))
def wake_model(user: RequireChatScope) -> HostingInfo:
    """Wake the model, so that it is ready when the message is written.

    A caller whose tokens of the day are used up cannot wake it.
    """
    return _hosting_info(model_access.wake_on_demand(user.account)).visible_to(user)


@router.post("/sleep", status_code=202)
def put_model_to_sleep(user: RequireWriteScope) -> HostingInfo:
    """Put the model to sleep now, for everybody: its instance stops and costs nothing. A message wakes it."""
    return _hosting_info(model_access.put_to_sleep(user.display_name))


def _hosting_info(state: HostingState) -> HostingInfo:
    hosted = state.status in {statuses.WAKING, statuses.AWAKE}
    return HostingInfo(
        status=state.status,
        version=state.version,
        since=state.since,
        message=state.message,
        expected_seconds=model_access.expected_wake_seconds(state)
        if state.status == statuses.WAKING
        else None,
        instance=endpoint_configs.instance_of(state.endpoint_config) if hosted else None,
        cost_this_month_usd=costs.this_month_cost_usd(),
        price_date=costs.hosting_price_month(),
    )


def _live_version(pointer: LivePointer | None) -> LiveVersion | None:
    version = versions.get(pointer.version) if pointer else None
    return LiveVersion.model_validate(version.model_dump()) if version else None


def _limits(user: User) -> CallerLimits:
    context = limits.context_tokens()
    return CallerLimits(
        messages=limits.MAX_MESSAGES,
        prompt_characters=limits.prompt_characters(context),
        context_tokens=context,
        answers_at_once=limits.MAX_CONCURRENT_ANSWERS,
        requests_per_minute=user.requests_per_minute,
        upload_bytes=limits.MAX_UPLOAD_BYTES,
        batch_bytes=limits.MAX_BATCH_BYTES,
        batch_lines=limits.MAX_BATCH_LINES,
        batches_at_once=batch_records.AT_ONCE,
    )
