"""Replaces the endpoint when AWS has no second instance for a blue/green update (docs/decisions/0012)."""

from typing import Literal

from shared import clock
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances
from shared.items import HostingState

QUIET_SECONDS = 300
"""How long nobody may have asked: longer than an answer takes, so that none is cut off."""
LONGEST_WAIT_SECONDS = 900
"""How long a new version waits for a quiet moment; after that new questions have to wait for it."""

Phase = Literal["waiting", "draining", "replacing"]


def is_needed(config: str) -> bool:
    """Whether another configuration answers, and no instance can be had for this one beside it."""
    return instances.next_instance(hosting_state.state().tried) is None and another_answers(config)


def another_answers(config: str) -> bool:
    """Whether an endpoint is in service, with another configuration than this."""
    found = endpoint.describe()
    return found is not None and found.status == "InService" and found.config != config


def advance(version: str, config: str, since: clock.Utc) -> Phase:
    """Go one step towards deleting the endpoint, so that it can be made again with another configuration.

    The table says `waking` from before the endpoint is deleted until it answers again, and a call of its own
    lies in between: a question that was let in at the last moment has been noted by then, and is waited for.

    Args:
        version: which one takes over.
        config: its endpoint configuration.
        since: when it began to wait.

    Returns:
        `waiting` for a quiet moment, while the live version goes on answering; `draining`: new questions
        wait, answers that were begun are finished; `replacing`: the endpoint is being deleted.
    """
    state = hosting_state.state()
    if state.status != "waking":
        if not _gives_back(state):
            # The endpoint manager lets it sleep when it is idle, and it is made with the new configuration
            # then.
            return "waiting"
        if not is_quiet(state) and clock.seconds_since(since) < LONGEST_WAIT_SECONDS:
            return "waiting"
        hosting_state.mark_waking(version, config, f"{version} takes over. {_why(config)}")
        return "draining"
    if not is_quiet(state):
        return "draining"
    if endpoint.delete():
        hosting_state.clear_refusals()
        # From now on it is counted how long starting takes.
        hosting_state.mark_waking(version, config, state.message)
    return "replacing"


def is_quiet(state: HostingState) -> bool:
    """Whether nobody has used the model for longer than an answer takes."""
    used = state.last_used_at
    return used is None or clock.seconds_since(used) >= QUIET_SECONDS


def describe_phase(phase: Phase, version: str, config: str) -> str:
    """Return what a run waits for, in words for its owner."""
    state = hosting_state.state()
    if phase == "waiting" and not _gives_back(state):
        return (
            f"{version} is ready. AWS has no second instance for it now, and the one that answers is not "
            "given up, because it might not come back: the version starts when the model has slept."
        )
    if phase == "waiting":
        return (
            f"{version} is ready. It takes over when nobody has used the model for {QUIET_SECONDS // 60} "
            f"minutes, in {LONGEST_WAIT_SECONDS // 60} minutes at the latest. {_why(config)}"
        )
    return f"{version} takes over. {_why(config)}"


def _gives_back(state: HostingState) -> bool:
    """Whether the account's quota alone is in the way, which the instance that answers gives back."""
    found = endpoint.describe()
    instance = endpoint_configs.instance_of(found.config if found else None)
    return state.tried.get(instance or "") == "quota"


def _why(config: str) -> str:
    instance = endpoint_configs.instance_of(config)
    return (
        f"The account's quota allows no second {instance} beside the one that answers, so chat pauses for "
        "some minutes while the instance changes."
    )
