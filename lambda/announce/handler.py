"""Ends a run that went as it should: its record, a message to the owner, the lock freed."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import notifications
from shared.aws import chat_stack
from shared.items import Run
from shared.runs import lock, run_records

log = Logger(service="announce")

# Who declined knows it, and the run that supersedes one asks again: those two are told nobody.
_SUBJECTS = {
    "succeeded": "Storyloom: your new model answers",
    "not_better": "Storyloom: the new model was not better",
    "pending_approval": "Storyloom: a new model waits for your yes",
    "stopped_early": "Storyloom: the run stopped early",
}
_TRAINED = {"succeeded", "not_better", "pending_approval"}


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record the outcome, free the lock, tell the owner. Calling it twice tells once.

    Args:
        event: `{"run_id", "outcome": "succeeded", "not_better", "pending_approval", "stopped_early",
            "declined" or "superseded", "message"}`.
        context: Lambda's.

    Returns:
        `{"one_more": whether stories that came meanwhile set the timer again}`
    """
    run_id, outcome, message = event["run_id"], event["outcome"], event["message"]
    run_records.enter(run_id, "Announce")
    run_records.finish(run_id, outcome, message)
    one_more = lock.release_lock_and_reschedule(run_id)
    run = run_records.get(run_id)
    if run is not None and outcome in _TRAINED and run.dataset_digest is not None:
        run_records.record_training(run_id, run.dataset_digest)
    if run is not None and outcome in _SUBJECTS:
        notifications.send_once(run_id, _SUBJECTS[outcome], _letter(run, one_more))
    log.info("The run has ended", extra={"run_id": run_id, "outcome": outcome, "one_more": one_more})
    return {"one_more": one_more}


def _letter(run: Run, one_more: bool) -> str:
    lines = [run.message or "", "", f"Run: {run.run_id}"]
    if run.files is not None:
        lines.append(f"Files: {run.files}")
    if run.stories is not None:
        lines.append(f"Stories: {run.stories} ({run.words or 0} words)")
    if run.version is not None:
        lines.append(f"Version: {run.version}")
    if run.base_perplexity is not None and run.tuned_perplexity is not None:
        lines.append(
            f"Perplexity on unseen stories: base {run.base_perplexity:.1f}, new {run.tuned_perplexity:.1f} "
            "(lower is better)"
        )
    if run.status == "pending_approval" and run.version is not None:
        lines += _question(run.version)
    if one_more:
        lines += ["", "Stories arrived during the run: one more run starts when the bucket is quiet."]
    return "\n".join(lines)


def _question(version: str) -> list[str]:
    return [
        "",
        f"Say yes or no on the page: {chat_stack.page_link('models', 'under Models')}",
        f"Or at a command line: storyloom models approve {version}",
        f"                      storyloom models reject {version}",
        "",
        "Nothing changes before you say yes, and it may wait as long as you like.",
    ]
