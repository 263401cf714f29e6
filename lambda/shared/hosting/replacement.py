"""Replace the endpoint when AWS has no second instance for a blue/green update (docs/decisions/0012)."""

from typing import Literal

from contracts import statuses
from shared import clock
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances
from shared.items import HostingState

QUIET_SECONDS = 300
"""How long the model must be unused: longer than an answer takes, so that none is cut off."""
LONGEST_WAIT_SECONDS = 900
"""How long a new version waits until the model is unused; after that, new requests wait for it."""

Phase = Literal["waiting", "draining", "replacing"]


def is_needed(config: str) -> bool:
    """Return whether another configuration answers, and this one can have no instance in addition."""
    return instances.next_instance(hosting_state.state().tried) is None and another_answers(config)


def another_answers(config: str) -> bool:
    """Return whether an endpoint with another configuration is in service."""
    found = endpoint.describe()
    return found is not None and found.status == "InService" and found.config != config


def advance(version: str, config: str, since: clock.Utc) -> Phase:
    """Go one step towards deleting the endpoint, so that it can be created with another configuration.

    The state is `waking` from before the deletion until the endpoint answers again. It is set in one call,
    and the endpoint deleted in a later one, so that a request that arrived at the last moment has been
    recorded by then, and its answer is finished.

    Args:
        version: the version that takes over.
        config: its endpoint configuration.
        since: when it began to wait.

    Returns:
        `waiting` until the model is unused, while the live version answers; `draining`: new requests wait,
        and answers that were begun are finished; `replacing`: the endpoint is being deleted.
    """
    state = hosting_state.state()
    if state.status != statuses.WAKING:
        if not _release_makes_room(state):
            # The endpoint manager deletes it when it is idle; it is then created with the new configuration.
            return "waiting"
        if not is_quiet(state) and clock.seconds_since(since) < LONGEST_WAIT_SECONDS:
            return "waiting"
        hosting_state.mark_waking(version, config, f"{version} takes over. {_why(config)}")
        return "draining"
    if not is_quiet(state):
        return "draining"
    if endpoint.delete():
        hosting_state.clear_refusals()
        # The time that starting takes counts from here.
        hosting_state.mark_waking(version, config, state.message)
    return "replacing"


def is_quiet(state: HostingState) -> bool:
    """Return whether the model has been unused for longer than an answer takes."""
    used = state.last_used_at
    return used is None or clock.seconds_since(used) >= QUIET_SECONDS


def describe_phase(phase: Phase, version: str, config: str) -> str:
    """Return what a run waits for, in words for the owner."""
    state = hosting_state.state()
    if phase == "waiting" and not _release_makes_room(state):
        return (
            f"{version} is ready. AWS has no second instance for it now, and the current one is not "
            "released, because it might not be available again. The version starts after the model has slept."
        )
    if phase == "waiting":
        return (
            f"{version} is ready. It takes over when nobody has used the model for {QUIET_SECONDS // 60} "
            f"minutes, in {LONGEST_WAIT_SECONDS // 60} minutes at the latest. {_why(config)}"
        )
    return f"{version} takes over. {_why(config)}"


def _release_makes_room(state: HostingState) -> bool:
    """Return whether only the quota prevents it, so that deleting the current instance makes room."""
    found = endpoint.describe()
    instance = endpoint_configs.instance_of(found.config if found else None)
    return state.tried.get(instance or "") == "quota"


def _why(config: str) -> str:
    instance = endpoint_configs.instance_of(config)
    return (
        f"The account's quota allows no second {instance} beside the one that answers, so chat pauses for "
        "some minutes while the instance changes."
    )
