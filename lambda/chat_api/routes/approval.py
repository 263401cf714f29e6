"""Saying yes or no to a run that asks before it trains."""

from typing import Annotated

from fastapi import APIRouter, Path

from chat_api.dependencies import spending
from chat_api.dependencies.errors import ApiError, refusals
from chat_api.dependencies.identity import MayWrite, User
from shared.items import ApprovalAnswer, Run
from shared.runs import approvals, run_records

router = APIRouter(tags=["Pipeline"], responses=refusals(402, 404, 409, 422))

RunId = Annotated[str, Path(pattern=r"^[0-9a-f-]{1,40}$")]

_CAME_FIRST: dict[ApprovalAnswer, str] = {
    "approved": "Somebody has said yes to run {} already.",
    "declined": "Somebody has said no to run {} already.",
    "superseded": "Stories arrived while run {} waited, so it makes room for a run with all of them.",
}


@router.post("/runs/{run_id}/approve")
def approve(run_id: RunId, user: MayWrite) -> Run:
    """Say yes: the run that waits goes on and trains. Saying it again changes nothing."""
    if _run(run_id).status == "waiting":
        spending.require_run()
    return _answer(run_id, "approved", user)


@router.post("/runs/{run_id}/decline")
def decline(run_id: RunId, user: MayWrite) -> Run:
    """Say no: the run that waits ends, and nothing is spent on a GPU. Saying it again changes nothing."""
    return _answer(run_id, "declined", user)


def _answer(run_id: str, given: ApprovalAnswer, user: User) -> Run:
    run = _run(run_id)
    question = approvals.get(run_id)
    if run.status != "waiting" and (question is None or question.answer is None):
        raise _nothing(run)
    try:
        approvals.answer(run_id, given, user.sub, user.called)
    except approvals.AlreadyAnsweredError as error:
        raise ApiError(
            409,
            "already_answered",
            _CAME_FIRST[error.answer].format(run_id),
            "Look at the run: GET /api/runs/" + run_id,
        ) from None
    except approvals.NotWaitingError:
        raise _nothing(_run(run_id)) from None
    said = "It trains." if given == "approved" else "It ends here."
    run_records.mark_running(run_id, f"{user.called} said {'yes' if given == 'approved' else 'no'}. {said}")
    return _run(run_id)


def _run(run_id: str) -> Run:
    run = run_records.get(run_id)
    if run is None:
        raise ApiError(404, "not_found", f"There is no run {run_id}.", "GET /api/runs lists the runs.")
    return run


def _nothing(run: Run) -> ApiError:
    cure = (
        "It asks when its stories are read, if ask_before_training is on; else it trains without asking."
        if run.status == "running"
        else "Add a story, or start a run, and answer that one while it waits."
    )
    return ApiError(409, "nothing_to_answer", f"Run {run.run_id} does not wait for an answer.", cure)
