"""Costs of this month and of batches, and the prices they are computed from."""

import math
from typing import TypedDict

from chat_api.errors import ApiError
from contracts import environment
from shared import clock
from shared.items import BatchJob
from shared.spending import ledger, prices

_START_MINUTES = 12.0
"""The time until a transform job's first answer: the start of its instance, the model and vLLM."""
_MAX_HOURS = 12.0
"""A batch that is expected to take longer is refused."""
_SPARE_MINUTES = 30.0
_STOPPING_MINUTES = 20.0
"""The endpoint manager checks every five minutes, two checks may fail, and stopping a job takes a while."""
PRICE_KINDS: dict[ledger.Kind, prices.Kind] = {
    "training": "training",
    "search": "training",
    "evaluation": "processing",
    "endpoint": "hosting",
    "batch": "transform",
    "notebook": "notebook",
}
"""The kind of price of each kind of cost."""


class BatchPrice(TypedDict):
    """The estimated time and cost of a batch, and when it is stopped. Costs are None if no price is known."""

    minutes_estimate: float | None
    cost_estimate_usd: float | None
    longest_minutes: float
    cost_at_most_usd: float | None
    price_date: str | None


def estimate_batch(answer_tokens: int, instance: str) -> BatchPrice:
    """Estimate the time and cost of a batch as if every answer had its greatest length.

    Args:
        answer_tokens: the greatest length of all answers together.
        instance: the instance type.

    Raises:
        ApiError: it would take too long.
    """
    speed = environment.read(environment.TransformInstances).transform_tokens_per_second.get(instance)
    minutes = None if speed is None else round(_START_MINUTES + answer_tokens / speed / 60, 1)
    if minutes is not None and minutes > _MAX_HOURS * 60:
        raise ApiError(
            "batch_too_long",
            f"The batch would take about {minutes / 60:.0f} hours; the limit is {_MAX_HOURS:g}.",
            "Divide it into several files, or ask for shorter answers (max_tokens).",
        )
    price = prices.usd_per_hour("transform", instance)
    expected = _MAX_HOURS * 60 if minutes is None else minutes
    longest = math.ceil(2 * expected + _SPARE_MINUTES)
    return BatchPrice(
        minutes_estimate=minutes,
        cost_estimate_usd=_cost_usd(minutes, instance),
        longest_minutes=longest,
        cost_at_most_usd=_cost_usd(longest + _STOPPING_MINUTES, instance),
        price_date=price.month if price else None,
    )


def batch_cost_usd(batch: BatchJob) -> float | None:
    """Return the cost of a batch so far; None if the price of its instance is not known."""
    if batch.started_at is None:
        return 0.0
    until = clock.instant(batch.ended_at) if batch.ended_at else clock.now()
    return _cost_usd((until - clock.instant(batch.started_at)).total_seconds() / 60, batch.instance)


def _cost_usd(minutes: float | None, instance: str) -> float | None:
    price = prices.usd_per_hour("transform", instance)
    return None if price is None or minutes is None else round(price.usd_per_hour * minutes / 60, 2)


def this_month_cost_usd() -> float | None:
    """Return US dollars spent since the month began (UTC); None if the price of an instance is not known."""
    sums = ledger.totals()
    return None if sums.unpriced else round(sums.spent_usd, 4)


def hosting_price_month() -> str:
    """Return the month of the price of the endpoint's first instance type; empty if it is not known."""
    first, *_ = environment.read(environment.BilledInstances).billed_instances["hosting"]
    price = prices.usd_per_hour("hosting", first)
    return price.month if price else ""


def billed_prices(entries: list[ledger.Entry]) -> dict[tuple[prices.Kind, str], prices.Price | None]:
    """Return the price of every instance in the settings and entries; None if it is not known."""
    billed: dict[prices.Kind, list[str]] = environment.read(environment.BilledInstances).billed_instances
    wanted = {(kind, instance) for kind, instances in billed.items() for instance in instances}
    wanted |= {(PRICE_KINDS[entry.kind], entry.instance) for entry in entries if entry.instance}
    return prices.usd_per_hour_of_all(sorted(wanted))
