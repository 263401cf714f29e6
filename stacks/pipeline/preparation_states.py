"""States between the dataset and the first payment: from `Preflight` to `NoMoney`.

They check the quotas, ask the owner if `ask_before_training` is on, copy the base model, and reserve the
money.
"""

from aws_cdk import Aws

from contracts import statuses
from stacks.pipeline.states import CATCH, RETRY_LAMBDA, RUN, FunctionTasks, State, choice, choice_of, ending

APPROVAL_DAYS = 7
"""Days that a run waits for approval before it ends by itself."""
APPROVAL_SECONDS = APPROVAL_DAYS * 24 * 60 * 60

_NOTHING_SPENT = "nothing was trained and nothing was spent on a GPU"
_DECLINED = f"Declined: {_NOTHING_SPENT}. Your stories are untouched."
_SUPERSEDED = (
    f"Stories arrived while this run waited for approval, so it ended: {_NOTHING_SPENT}. "
    "A run with all of them starts by itself and asks again."
)
_NO_ANSWER = (
    f"This run was not approved within {APPROVAL_DAYS} days, so it ended: {_NOTHING_SPENT}. "
    "Your stories are untouched. To be asked again, upload a story or start a run."
)


def preparation_states(tasks: FunctionTasks) -> dict[str, State]:
    """Return the states from `Preflight` to `NoMoney`."""
    training_job = {"training_job.$": "$.assembled.jobs.training_job_name"}
    return {
        # Before the owner is asked, and before an instance is paid for.
        "Preflight": tasks.call(
            "preflight", {**RUN, "estimate.$": "$.assembled.estimate"}, "$.preflight", "QuotasSuffice"
        ),
        "QuotasSuffice": choice(
            {"Variable": "$.preflight.enough", "BooleanEquals": True}, "TrainAtOnce", "QuotasTooLow"
        ),
        "QuotasTooLow": ending(statuses.STOPPED_EARLY, {"message.$": "$.preflight.message"}),
        "StopEarly": ending(statuses.STOPPED_EARLY, {"message.$": "$.assembled.message"}),
        **_approval_states(tasks.arn("ask_approval"), approved="StageBaseModel"),
        "StageBaseModel": tasks.call("stage_base_model", {**RUN, **training_job}, "$.staged", "Staged"),
        "Staged": choice({"Variable": "$.staged.done", "BooleanEquals": True}, "Reserve", "StageBaseModel"),
        # The last state before an instance is paid for, because the approval may have taken days.
        "Reserve": tasks.call(
            "reserve",
            {
                **RUN,
                "jobs.$": "$.assembled.jobs",
                "tune.$": "$.assembled.tune",
                "estimate.$": "$.assembled.estimate",
            },
            "$.assembled.jobs",
            "Reserved",
        ),
        "Reserved": choice(
            {"Variable": "$.assembled.jobs.reserved", "BooleanEquals": True}, "TrainOnce", "NoMoney"
        ),
        "NoMoney": ending(statuses.STOPPED_EARLY, {"message.$": "$.assembled.jobs.refusal"}),
    }


def _approval_states(ask_arn: str, *, approved: str) -> dict[str, State]:
    """Return the states that ask the owner: `TrainAtOnce` skips them as `Assemble` decided.

    Both values of the setting have the same states.

    Args:
        ask_arn: ARN of the function that asks.
        approved: the state after the approval.
    """
    asks_nobody = {"Variable": "$.assembled.ask_before_training", "BooleanEquals": False}
    return {
        "TrainAtOnce": choice(asks_nobody, approved, "AwaitApproval"),
        "AwaitApproval": {
            "Type": "Task",
            "Resource": f"arn:{Aws.PARTITION}:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": ask_arn,
                "Payload": {
                    **RUN,
                    "task_token.$": "$$.Task.Token",
                    "days": APPROVAL_DAYS,
                    "verdict.$": "$.assembled.message",
                    "estimate.$": "$.assembled.estimate",
                },
            },
            "ResultPath": "$.approval",
            "TimeoutSeconds": APPROVAL_SECONDS,
            "Retry": RETRY_LAMBDA,
            "Catch": [{"ErrorEquals": ["States.Timeout"], "ResultPath": None, "Next": "NoAnswer"}, *CATCH],
            "Next": "Approved",
        },
        "Approved": choice_of(
            "$.approval.answer",
            {statuses.APPROVED: approved, statuses.DECLINED: "Declined"},
            default="Superseded",
        ),
        "Declined": ending(statuses.DECLINED, {"message": _DECLINED}),
        "Superseded": ending(statuses.SUPERSEDED, {"message": _SUPERSEDED}),
        "NoAnswer": ending(statuses.STOPPED_EARLY, {"message": _NO_ANSWER}),
    }
