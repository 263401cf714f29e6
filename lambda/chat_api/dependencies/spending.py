"""Refuse with 402 what would exceed the month's limit, before AWS is called."""

from collections.abc import Iterator
from contextlib import contextmanager

from chat_api.dependencies.errors import ApiError
from shared import notifications
from shared.items import HostingState
from shared.spending import run_costs
from shared.spending.spending_refused import SpendingRefused


@contextmanager
def payment_required(refused: notifications.Refused) -> Iterator[None]:
    """Turn a refusal of the ledger into the API's answer, and tell the owner once a month.

    Args:
        refused: what is asked for.

    Raises:
        ApiError: 402 with what it is, what is left of the month, and how to raise the limit.
    """
    try:
        yield
    except SpendingRefused as refusal:
        notifications.send_monthly(refused, f"{refusal} {refusal.cure}")
        # OpenAI's clients would retry, but only a higher limit or the next month helps.
        headers = {"x-should-retry": "false"}
        raise ApiError(402, refusal.code, str(refusal), refusal.cure, headers=headers) from refusal


def require_run() -> None:
    """Refuse a run if the month's limit leaves too little for its training, evaluation and deployment.

    Raises:
        ApiError: 402.
    """
    with payment_required("run"):
        run_costs.require_run_budget()


def require_machine() -> None:
    """Refuse to start the endpoint if the month's limit leaves too little for it.

    Raises:
        ApiError: 402.
    """
    with payment_required("model"):
        run_costs.require_start_budget()


def require_wake(state: HostingState) -> None:
    """Refuse to wake a model that no machine is paid for.

    Raises:
        ApiError: 402.
    """
    if state.status in {"asleep", "failing"}:
        require_machine()
