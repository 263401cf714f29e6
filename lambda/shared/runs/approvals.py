"""Approval of a run before it trains: its question, and the one answer that counts.

An answer is written to the table first and sent to Step Functions afterwards. So of two answers at once one
is refused, and if the caller died in between, giving the same answer again sends it.
"""

import json
import time
from typing import Any

from boto3.dynamodb.conditions import Attr

from contracts import statuses, table_keys
from contracts.statuses import ApprovalAnswer
from shared import clock, table
from shared.aws import clients
from shared.items import Approval

_PARTITION = table_keys.APPROVALS

# Step Functions' errors for a token whose task has ended: answered, timed out, or its run was stopped.
_TASK_ENDED = ("TaskDoesNotExist", "TaskTimedOut", "InvalidToken")


class NotWaitingError(Exception):
    """The run does not wait for approval."""


class AlreadyAnsweredError(Exception):
    """Another answer was given first."""

    def __init__(self, answer: ApprovalAnswer) -> None:
        """Keep the answer that was given first."""
        super().__init__(answer)
        self.answer = answer


def open_question(run_id: str, task_token: str) -> None:
    """Write the question of a run; if a retry asks again, the earlier answer is cleared."""
    changes = {
        "run_id": run_id,
        "task_token": task_token,
        "answer": None,
        "reviewer": None,
        "reviewer_name": None,
        "answered_at": None,
        "delivered_at": None,
    }
    table.update(_PARTITION, run_id, changes)


def get(run_id: str) -> Approval | None:
    """Read a run's question; None if it has not asked."""
    item = table.get(_PARTITION, run_id)
    return Approval.model_validate(item) if item else None


def mark_notified(run_id: str) -> None:
    """Record that the owner was notified of the question."""
    table.update(_PARTITION, run_id, {"told_at": clock.stamp()})


def answer(run_id: str, given: ApprovalAnswer, by: str | None = None, name: str | None = None) -> None:
    """Answer a run's question, so that the run continues. Repeating the same answer changes nothing.

    Args:
        run_id: the run.
        given: the answer.
        by: id of the person in the user pool, or `key:<id>`.
        name: name of the person or key.

    Raises:
        NotWaitingError: the run has not asked, or no longer waits.
        AlreadyAnsweredError: another answer was given first.
    """
    question = get(run_id)
    if question is None:
        raise NotWaitingError(run_id)
    if not _record_answer(question, given, by, name):
        current = get(run_id)
        if current is None or current.answer is None:
            raise NotWaitingError(run_id)
        raise AlreadyAnsweredError(current.answer)
    if _send_answer(question.task_token, given):
        table.update(_PARTITION, run_id, {"delivered_at": clock.stamp()})
    elif not _was_delivered(run_id):
        raise NotWaitingError(run_id)


def supersede(run_id: str) -> bool:
    """End a waiting run because new stories arrived; returns False if it does not wait, or was answered."""
    try:
        answer(run_id, statuses.SUPERSEDED)
    except (NotWaitingError, AlreadyAnsweredError):
        return False
    return True


def _record_answer(question: Approval, given: ApprovalAnswer, by: str | None, name: str | None) -> bool:
    open_or_same = Attr("answer").not_exists() | Attr("answer").eq(given)
    known: dict[str, Any] = {"answered_at": clock.stamp(), "reviewer": by, "reviewer_name": name}
    return table.update(
        _PARTITION,
        question.run_id,
        {"answer": given},
        # A retry of the state may have asked again since the question was read.
        only_if=open_or_same & Attr("task_token").eq(question.task_token),
        if_absent=table.without_none(known),
    )


def _was_delivered(run_id: str) -> bool:
    """Return whether the task ended because of this answer; another call may be sending the same one now."""
    for _ in range(5):
        question = get(run_id)
        if question is not None and question.delivered_at is not None:
            return True
        time.sleep(0.2)
    return False


def _send_answer(task_token: str, given: ApprovalAnswer) -> bool:
    """Send the answer to Step Functions; returns False if the task has ended."""
    client = clients.stepfunctions()
    try:
        client.send_task_success(taskToken=task_token, output=json.dumps({"answer": given}))
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _TASK_ENDED:
            return False
        raise
    return True
