"""Ask the owner whether to train: what was found, what it would cost, and where to answer."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, notifications
from shared.aws import chat_stack
from shared.runs import approvals, lock, run_records

log = Logger(service="ask_approval")

STATE = "AwaitApproval"
_SUBJECT = "Storyloom: a run waits for your approval before it trains"


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Store the token that lets the run continue, and ask the owner. A second call sends no second message.

    Args:
        event: `{"run_id", "task_token", "days", "verdict", "estimate": {"training_minutes", "cost_usd" or
            None, "price_date"}}`; after that many days the state machine ends the run.
        context: Lambda's.

    Returns:
        `{"asked": False if stories that arrived meanwhile have ended the run instead}`
    """
    run_id = event["run_id"]
    approvals.open_question(run_id, event["task_token"])
    # This is read after the token is stored, and start_run looks for a token after it has recorded new
    # stories: whichever comes second sees the other.
    held = lock.holder()
    if held is not None and held.run_id == run_id and held.pending and approvals.supersede(run_id):
        log.info("New stories came before the question", extra={"run_id": run_id})
        return {"asked": False}
    until = clock.text(clock.now() + timedelta(days=event["days"]))
    question = f"{event['verdict']} {price_words(event['estimate'])}"
    run_records.mark_waiting(run_id, STATE, f"Waiting for your approval. {question}", until)
    _notify_once(run_id, question, event["days"])
    log.info("Asked", extra={"run_id": run_id, "until": until})
    return {"asked": True}


def price_words(estimate: dict[str, Any]) -> str:
    """Return a sentence about the time and cost of the training."""
    minutes, cost = max(1, round(estimate["training_minutes"])), estimate["cost_usd"]
    takes = f"Training would take about {minutes} minute{'s' * (minutes != 1)}"
    if cost is None:
        return f"{takes}; its cost is not known, because there is no price for this instance."
    price = "less than $0.01" if cost < 0.01 else f"about ${cost:.2f}"
    return f"{takes} and cost {price} (prices of {estimate['price_date']})."


def _notify_once(run_id: str, question: str, days: int) -> None:
    asked = approvals.get(run_id)
    if asked is None or asked.told_at is not None:
        return
    lines = [
        question,
        "",
        f"Answer on the page: {chat_stack.page_link(f'runs/{run_id}', f'under Runs, run {run_id}')}",
        f"Or on the command line: storyloom approve {run_id}",
        f"                        storyloom decline {run_id}",
        "",
        "Nothing is spent on a GPU before you approve. "
        f"Without an answer the run ends by itself after {days} days. "
        "If you add stories before you answer, a run with all of them replaces this one and asks again.",
    ]
    notifications.send(_SUBJECT, "\n".join(lines))
    approvals.mark_notified(run_id)
