"""Whether to train: a run's question, and the one answer that counts.

Whoever answers writes the answer first and wakes the run after it. So of two answers at once one is refused,
and an answer whose sender died in between is sent again by giving it again.
"""

import json
import time
from typing import Any

from boto3.dynamodb.conditions import Attr

from contracts import table_keys
from shared import clock
from shared.aws import clients
from shared.table import table
from shared.table.items import Approval, ApprovalAnswer

_PARTITION = table_keys.APPROVALS

# What Step Functions says of a token whose task has ended: answered, timed out, or its run was stopped.
_OVER = ("TaskDoesNotExist", "TaskTimedOut", "InvalidToken")


class NothingToAnswerError(Exception):
    """The run does not wait for an answer."""


class AnsweredOtherwiseError(Exception):
    """Another answer came first."""

    def __init__(self, answer: ApprovalAnswer) -> None:
        """Remember which."""
        super().__init__(answer)
        self.answer = answer


def ask(run_id: str, task_token: str) -> None:
    """Keep a run's question; one that is asked again, by a retry, has no answer yet."""
    changes = {
        "run_id": run_id,
        "task_token": task_token,
        "answer": None,
        "answered_by": None,
        "answered_by_name": None,
        "answered_at": None,
        "delivered_at": None,
    }
    table.update(_PARTITION, run_id, changes)


def get(run_id: str) -> Approval | None:
    """Read a run's question; None where it has not asked."""
    item = table.get(_PARTITION, run_id)
    return Approval.model_validate(item) if item else None


def mark_told(run_id: str) -> None:
    """Note that the owner was asked."""
    table.update(_PARTITION, run_id, {"told_at": clock.stamp()})


def answer(run_id: str, given: ApprovalAnswer, by: str | None = None, name: str | None = None) -> None:
    """Answer a run's question and let the run go on. The same answer again changes nothing.

    Args:
        run_id: the run.
        given: the answer.
        by: id of the person in the user pool, or `key:<id>`.
        name: what the person or key is called.

    Raises:
        NothingToAnswerError: the run has not asked, or waits no more.
        AnsweredOtherwiseError: another answer came first.
    """
    question = get(run_id)
    if question is None:
        raise NothingToAnswerError(run_id)
    if not _is_first(question, given, by, name):
        current = get(run_id)
        if current is None or current.answer is None:
            raise NothingToAnswerError(run_id)
        raise AnsweredOtherwiseError(current.answer)
    if _wake(question.task_token, given):
        table.update(_PARTITION, run_id, {"delivered_at": clock.stamp()})
    elif not _was_delivered(run_id):
        raise NothingToAnswerError(run_id)


def supersede(run_id: str) -> bool:
    """End a run that waits, because new stories came; returns whether it does end because of them."""
    try:
        answer(run_id, "superseded")
    except (NothingToAnswerError, AnsweredOtherwiseError):
        return False
    return True


def _is_first(question: Approval, given: ApprovalAnswer, by: str | None, name: str | None) -> bool:
    open_or_same = Attr("answer").not_exists() | Attr("answer").eq(given)
    known: dict[str, Any] = {"answered_at": clock.stamp(), "answered_by": by, "answered_by_name": name}
    return table.update(
        _PARTITION,
        question.run_id,
        {"answer": given},
        # A retry of the state may have asked anew since the question was read.
        only_if=open_or_same & Attr("task_token").eq(question.task_token),
        if_absent=table.without_none(known),
    )


def _was_delivered(run_id: str) -> bool:
    """Whether the task is over because of the answer; somebody may be delivering the same one just now."""
    for _ in range(5):
        question = get(run_id)
        if question is not None and question.delivered_at is not None:
            return True
        time.sleep(0.2)
    return False


def _wake(task_token: str, given: ApprovalAnswer) -> bool:
    """Give Step Functions the answer; returns False where the task has ended."""
    client = clients.stepfunctions()
    try:
        client.send_task_success(taskToken=task_token, output=json.dumps({"answer": given}))
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in _OVER:
            return False
        raise
    return True
