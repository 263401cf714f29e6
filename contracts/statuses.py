"""The statuses of runs, versions, batches and the endpoint, as constants and as types.

The types are literals, so mypy rejects a comparison with a status that the type does not have.
"""

from typing import Final, Literal

RUNNING: Final = "running"
WAITING: Final = "waiting"
SUCCEEDED: Final = "succeeded"
NOT_BETTER: Final = "not_better"
PENDING_APPROVAL: Final = "pending_approval"
STOPPED_EARLY: Final = "stopped_early"
DECLINED: Final = "declined"
SUPERSEDED: Final = "superseded"
FAILED: Final = "failed"

RunStatus = Literal[
    "running",
    "waiting",
    "succeeded",
    "not_better",
    "pending_approval",
    "stopped_early",
    "declined",
    "superseded",
    "failed",
]
"""`running` and `waiting` are active, the others are final.

`waiting`: for approval, before training. `pending_approval`: the run has ended, and its version waits for
approval before it is deployed.
"""
ACTIVE_RUN_STATUSES: frozenset[RunStatus] = frozenset({RUNNING, WAITING})
FINAL_RUN_STATUSES: frozenset[RunStatus] = frozenset(
    {SUCCEEDED, NOT_BETTER, PENDING_APPROVAL, STOPPED_EARLY, DECLINED, SUPERSEDED, FAILED}
)

APPROVED: Final = "approved"
ApprovalAnswer = Literal["approved", "declined", "superseded"]
"""Whether a run may train. `superseded`: stories arrived while it waited, and another run replaces it."""

StateStatus = Literal["running", "succeeded", "failed"]
"""Of one state of the state machine in a run."""

PENDING: Final = "pending"
REJECTED: Final = "rejected"
LIVE: Final = "live"
PREVIOUS: Final = "previous"
VersionStatus = Literal["pending", "approved", "rejected", "live", "previous", "failed"]
"""`pending`: waits for approval; `previous`: was live before the live one; `failed`: in its smoke test."""
ReviewDecision = Literal["approved", "rejected"]
"""What a person decides about a version."""

ASLEEP: Final = "asleep"
WAKING: Final = "waking"
AWAKE: Final = "awake"
FAILING: Final = "failing"
HostingStatus = Literal["asleep", "waking", "awake", "failing"]

UPLOADING: Final = "uploading"
CHECKED: Final = "checked"
PREPARING: Final = "preparing"
STOPPING: Final = "stopping"
COMPLETED: Final = "completed"
STOPPED: Final = "stopped"
BatchStatus = Literal[
    "uploading", "checked", "preparing", "running", "stopping", "completed", "failed", "stopped"
]
"""`uploading`: its file has not been checked; `checked`: waits for its start, and costs nothing until then;
`preparing`: the model is packed for it; the last three are final.
"""
ACTIVE_BATCH_STATUSES: frozenset[BatchStatus] = frozenset({PREPARING, RUNNING, STOPPING})
FINAL_BATCH_STATUSES: frozenset[BatchStatus] = frozenset({COMPLETED, FAILED, STOPPED})
TrialStatus = Literal["running", "succeeded", "stopped", "failed"]
"""Of one training of a search; `stopped`: its loss was worse than that of others."""

PASSED: Final = "passed"
"""The smoke test's last status; until then it is waiting."""
