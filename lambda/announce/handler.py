"""End a run that did not fail: record its outcome, release its lock, notify the owner."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import statuses
from shared import notifications
from shared.aws import chat_stack
from shared.items import Run
from shared.runs import lock, run_records

log = Logger(service="announce")

# No message about a declined run, which the owner declined, or a superseded one, whose successor asks again.
_SUBJECTS = {
    statuses.SUCCEEDED: "Storyloom: your new model is live",
    statuses.NOT_BETTER: "Storyloom: the new model was not better",
    statuses.PENDING_APPROVAL: "Storyloom: a new model waits for your approval",
    statuses.STOPPED_EARLY: "Storyloom: the run stopped early",
}
_TRAINED = {statuses.SUCCEEDED, statuses.NOT_BETTER, statuses.PENDING_APPROVAL}


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Record the outcome, release the lock, notify the owner. A second call sends no second message.

    Args:
        event: `{"run_id", "outcome": "succeeded", "not_better", "pending_approval", "stopped_early",
            "declined" or "superseded", "message"}`.
        context: Lambda's.

    Returns:
        `{"rerun": whether another run was scheduled, because stories arrived meanwhile}`
    """
    run_id, outcome, message = event["run_id"], event["outcome"], event["message"]
    run_records.enter(run_id, "Announce")
    run_records.finish(run_id, outcome, message)
    rerun = lock.release_lock_and_reschedule(run_id)
    run = run_records.get(run_id)
    if run is not None and outcome in _TRAINED and run.dataset_digest is not None:
        run_records.record_training(run_id, run.dataset_digest)
    if run is not None and outcome in _SUBJECTS:
        notifications.send_once(run_id, _SUBJECTS[outcome], _message(run, rerun))
    log.info("The run has ended", extra={"run_id": run_id, "outcome": outcome, "rerun": rerun})
    return {"rerun": rerun}


def _message(run: Run, rerun: bool) -> str:
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
    if run.status == statuses.PENDING_APPROVAL and run.version is not None:
        lines += _approval_lines(run.version)
    if rerun:
        lines += ["", "Stories arrived during the run. Another run starts when no more stories arrive."]
    return "\n".join(lines)


def _approval_lines(version: str) -> list[str]:
    return [
        "",
        f"Approve or reject it on the page: {chat_stack.page_link('models', 'under Versions')}",
        f"Or on the command line: storyloom models approve {version}",
        f"                        storyloom models reject {version}",
        "",
        "Nothing changes before you approve it, and it may wait as long as you like.",
    ]
