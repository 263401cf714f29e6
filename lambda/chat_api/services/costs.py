"""What the model's machines have cost this month, and what a batch will."""

import math
from typing import TypedDict

from chat_api.dependencies.errors import ApiError
from contracts import environment
from shared import clock
from shared.items import BatchJob
from shared.spending import ledger, prices

_START_MINUTES = 12.0
"""Until a transform job's first answer: its machine, its model, and vLLM's first start on it."""
_MOST_HOURS = 12.0
"""A batch that is expected to take longer is refused."""
_SPARE_MINUTES = 30.0
_STOPPING_MINUTES = 20.0
"""The endpoint manager looks every five minutes, two looks may fail, and stopping a job takes a while."""


class BatchPrice(TypedDict):
    """What a batch is expected to take, and when it is stopped. Costs are None where no price is known."""

    minutes_estimate: float | None
    cost_estimate_usd: float | None
    longest_minutes: float
    cost_at_most_usd: float | None
    price_date: str | None


def of_batch(answer_tokens: int, instance: str) -> BatchPrice:
    """Estimate what a batch takes, on the dear side: as if every answer were as long as it may be.

    Args:
        answer_tokens: of all answers together.
        instance: the machine.

    Raises:
        ApiError: 413 where it would take too long.
    """
    speed = environment.read(environment.TransformMachines).transform_tokens_per_second.get(instance)
    minutes = None if speed is None else round(_START_MINUTES + answer_tokens / speed / 60, 1)
    if minutes is not None and minutes > _MOST_HOURS * 60:
        raise ApiError(
            413,
            "batch_too_long",
            f"The batch would take about {minutes / 60:.0f} hours; it may take {_MOST_HOURS:g}.",
            "Divide it into several files, or ask for shorter answers (max_tokens).",
        )
    price = prices.usd_per_hour("transform", instance)
    expected = _MOST_HOURS * 60 if minutes is None else minutes
    longest = math.ceil(2 * expected + _SPARE_MINUTES)
    return BatchPrice(
        minutes_estimate=minutes,
        cost_estimate_usd=_usd(minutes, instance),
        longest_minutes=longest,
        cost_at_most_usd=_usd(longest + _STOPPING_MINUTES, instance),
        price_date=price.month if price else None,
    )


def so_far_usd(batch: BatchJob) -> float | None:
    """Return what a batch has cost until now; None where its machine's price is not known."""
    if batch.started_at is None:
        return 0.0
    until = clock.instant(batch.ended_at) if batch.ended_at else clock.now()
    return _usd((until - clock.instant(batch.started_at)).total_seconds() / 60, batch.instance)


def _usd(minutes: float | None, instance: str) -> float | None:
    price = prices.usd_per_hour("transform", instance)
    return None if price is None or minutes is None else round(price.usd_per_hour * minutes / 60, 2)


def this_month_usd() -> float | None:
    """Return US dollars spent since the month began (UTC); None if the price of an instance is not known."""
    sums = ledger.totals()
    return None if sums.unpriced else round(sums.spent_usd, 4)


def hosting_price_month() -> str:
    """Return of what month the price of the endpoint's first choice is, or an empty text if there is none."""
    first, *_ = environment.read(environment.BilledInstances).billed_instances["hosting"]
    price = prices.usd_per_hour("hosting", first)
    return price.month if price else ""
