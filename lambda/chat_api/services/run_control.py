"""Start, resume, stop, approve and decline runs."""

import json
from typing import Any

from chat_api.errors import ApiError
from chat_api.services import limits
from contracts import environment, statuses
from contracts.statuses import ApprovalAnswer
from shared import notifications
from shared.aws import clients
from shared.items import Run
from shared.recovery import failures
from shared.runs import approvals, run_records

_ANSWERED_BEFORE: dict[ApprovalAnswer, str] = {
    statuses.APPROVED: "Run {} has already been approved.",
    statuses.DECLINED: "Run {} has already been declined.",
    statuses.SUPERSEDED: "New stories arrived while run {} waited, so a run with all stories replaces it.",
}


def invoke_start_run(event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function that starts runs and deployments, and return its result."""
    response = clients.lambdas().invoke(
        FunctionName=environment.read(environment.FunctionNames).start_run_function,
        Payload=json.dumps(event).encode(),
    )
    result: dict[str, Any] = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise RuntimeError(f"start_run failed: {result.get('errorMessage')}")
    return result


def request_run(caller: str, account: str, name: str, *, again: bool) -> dict[str, Any]:
    """Start a run, or request one to follow the run in progress.

    Args:
        caller: the caller's id.
        account: whose daily limit applies.
        name: the caller's name, for the run's record.
        again: whether to train although nothing has changed.

    Returns:
        `started`, `run_id` and `message`.

    Raises:
        ApiError: a limit is reached.
    """
    limits.require_run_budget()
    limits.enforce_run_limit(account)
    return invoke_start_run({"reason": f"{name} started it", "by": caller, "again": again})


def request_resume(run_id: str, account: str, name: str) -> dict[str, Any]:
    """Resume a failed run at the state that failed.

    Returns:
        `started`, `run_id` and `message`.

    Raises:
        ApiError: there is no such run, it cannot be resumed, or a limit is reached.
    """
    existing_run(run_id)
    limits.enforce_run_limit(account)
    outcome = invoke_start_run({"resume": run_id, "reason": f"{name} resumed it"})
    if outcome.get("code"):
        notifications.send_monthly("run", f"{outcome['message']} {outcome['cure']}")
        raise ApiError(outcome["code"], outcome["message"], outcome["cure"])
    if outcome.get("refused"):
        raise ApiError("cannot_resume", outcome["message"], f"See the run's details: GET /api/runs/{run_id}")
    return outcome


def stop_execution(run_id: str, name: str) -> None:
    """Stop a run and its job.

    Raises:
        ApiError: there is no such run, or it has ended.
    """
    run = existing_run(run_id)
    if not run.is_active:
        raise _has_ended_error(run)
    client = clients.stepfunctions()
    try:
        # The event of the execution's end causes the rest: the record, the lock, the message to the owner.
        client.stop_execution(
            executionArn=run.execution_arn or _execution_arn(run_id),
            error=failures.STOPPED,
            cause=f"{name} stopped the run.",
        )
    except client.exceptions.ExecutionDoesNotExist:
        raise _has_ended_error(run) from None


def answer_approval(run_id: str, decision: ApprovalAnswer, caller: str, name: str) -> Run:
    """Approve or decline a run that waits for approval before it trains.

    Returns:
        The run after that.

    Raises:
        ApiError: there is no such run, it does not wait, or it was answered otherwise.
    """
    run = existing_run(run_id)
    if decision == statuses.APPROVED and run.status == statuses.WAITING:
        limits.require_run_budget()
    question = approvals.get(run_id)
    if run.status != statuses.WAITING and (question is None or question.answer is None):
        raise _nothing_to_answer_error(run)
    try:
        approvals.answer(run_id, decision, caller, name)
    except approvals.AlreadyAnsweredError as error:
        raise ApiError(
            "already_answered",
            _ANSWERED_BEFORE[error.answer].format(run_id),
            f"See the run's details: GET /api/runs/{run_id}",
        ) from None
    except approvals.NotWaitingError:
        raise _nothing_to_answer_error(existing_run(run_id)) from None
    effect = "It trains." if decision == statuses.APPROVED else "It ends here."
    run_records.mark_running(run_id, f"{name} {decision} the run. {effect}")
    return existing_run(run_id)


def existing_run(run_id: str) -> Run:
    """Return a run's record.

    Raises:
        ApiError: there is no such run.
    """
    run = run_records.get(run_id)
    if run is None:
        raise ApiError("not_found", f"There is no run {run_id}.", "GET /api/runs lists the runs.")
    return run


def _execution_arn(run_id: str) -> str:
    """Return the ARN of a run whose record has none: the execution has the run's name."""
    machine = environment.read(environment.StateMachine).state_machine_arn
    return f"{machine.replace(':stateMachine:', ':execution:')}:{run_id}"


def _has_ended_error(run: Run) -> ApiError:
    return ApiError(
        "has_ended",
        f"Run {run.run_id} has already ended.",
        f"See how it ended: GET /api/runs/{run.run_id}",
    )


def _nothing_to_answer_error(run: Run) -> ApiError:
    cure = (
        "If ask_before_training is on, it asks for approval once its stories are read; otherwise it trains "
        "without asking."
        if run.status == statuses.RUNNING
        else "Add a story, or start a run, and answer that one while it waits."
    )
    return ApiError("nothing_to_answer", f"Run {run.run_id} does not wait for approval.", cure)
