"""Keeps the endpoint only while it is used: wakes it, puts it to sleep, and repairs what the table says."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from shared import clock, endpoint, environment, hosting, lock, versions
from shared.endpoint import Endpoint
from shared.models import HostingState

log = Logger(service="keeper")

LONGEST_LIFE = timedelta(hours=24)
"""No endpoint bills for longer than this in one piece, whatever the table says; the next message wakes it."""
_SETTLING_SECONDS = 60
"""For this long whoever woke the endpoint is left to make it, and a failure is not tried again."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Do one thing to the endpoint.

    Args:
        event: `{"action": "tick", "wake" or "sleep"}`; any other event, for instance a schedule's, is a tick.
        context: Lambda's.

    Returns:
        The hosting state after it.
    """
    action = event.get("action", "tick")
    if action == "wake":
        wake()
    elif action == "sleep":
        sleep("Put to sleep by hand.")
    else:
        tick()
    state = hosting.state()
    log.info(f"After {action}", extra={"hosting": state.status, "version": state.version})
    return state.model_dump()


def wake() -> None:
    """Make the endpoint of the live version, once, however many ask; nothing where no version is live."""
    live = versions.live()
    if live is None:
        return
    state = hosting.state()
    age = clock.seconds_since(state.since) if state.since else float("inf")
    if state.status in {"waking", "failing"} and age < _SETTLING_SECONDS:
        return
    if state.status in {"waking", "awake"} and endpoint.describe() is not None:
        return
    config = endpoint.ensure_config(live.version, live.bundle_uri)
    if state.status in {"waking", "awake"}:
        # The table says more than there is: someone deleted the endpoint, or died before making it.
        hosting.mark_asleep(state, "The endpoint was gone.")
    if hosting.claim_waking(live.version, config):
        endpoint.converge(config)


def sleep(why: str) -> None:
    """Delete the endpoint, unless somebody used it since this was decided."""
    if hosting.mark_asleep(hosting.state(), why):
        endpoint.delete()


def tick() -> None:
    """Compare the table with SageMaker, put right what differs, and end what is idle or too old."""
    state, found = hosting.state(), endpoint.describe()
    if found is None:
        _without_endpoint(state)
    elif clock.now() - found.created_at > LONGEST_LIFE and not found.busy:
        if hosting.mark_asleep(state, "Deleted after the longest life of an endpoint; a message wakes it."):
            endpoint.delete()
    elif found.status == "InService":
        _in_service(state, found)
    elif not found.busy:
        _broken(state, found)


def _without_endpoint(state: HostingState) -> None:
    if state.status == "awake":
        hosting.mark_asleep(state, "The endpoint was deleted; a message wakes it.")
    elif state.status == "waking" and state.endpoint_config:
        endpoint.converge(state.endpoint_config)


def _in_service(state: HostingState, found: Endpoint) -> None:
    if state.status == "asleep":
        # Deleting it failed, or it was made behind our back: it bills, so it goes.
        endpoint.delete()
        return
    if lock.holder() is None:
        wanted = _wanted_config()
        if wanted is None:
            endpoint.delete()
            hosting.mark_asleep(state, "No version is live.")
            return
        if found.config != wanted[1] and state.requested != wanted[1]:
            endpoint.converge(wanted[1])
            return
        if state.status != "awake":
            hosting.mark_awake(*wanted)
            return
    elif state.status != "awake" and state.version and found.config == state.endpoint_config:
        hosting.mark_awake(state.version, found.config)
        return
    _sleep_if_idle(state)


def _sleep_if_idle(state: HostingState) -> None:
    minutes = environment.read(environment.Hosting).idle_minutes
    used = state.last_used_at or state.since
    if used is None or clock.seconds_since(used) < minutes * 60:
        return
    if hosting.mark_asleep(state, f"Asleep after {minutes:g} minutes without a message; a message wakes it."):
        endpoint.delete()


def _broken(state: HostingState, found: Endpoint) -> None:
    endpoint.delete()
    if state.status != "asleep":
        hosting.mark_failing(found.failure or f"The endpoint was {found.status}.")


def _wanted_config() -> tuple[str, str] | None:
    live = versions.live()
    if live is None:
        return None
    return live.version, endpoint.ensure_config(live.version, live.bundle_uri)
