"""Keeps the endpoint only while it is used: wakes it, puts it to sleep, and repairs what the table says."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment
from shared import clock, notifications, settlement
from shared.answers import usage
from shared.batch_inference import transform_jobs
from shared.hosting import endpoint, endpoint_configs, hosting_state, instances, scaling
from shared.hosting.endpoint import Endpoint
from shared.items import HostingState
from shared.models import versions
from shared.runs import lock
from shared.spending import meter
from shared.spending.spending_refused import SpendingRefused

log = Logger(service="endpoint_manager")

LONGEST_LIFE = timedelta(hours=24)
"""No endpoint bills for longer than this in one piece, whatever the table says; the next message wakes it."""
_SETTLING_SECONDS = 60
"""For this long whoever woke the endpoint is left to make it."""


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
        wake_endpoint()
    elif action == "sleep":
        put_to_sleep("Put to sleep by hand.")
    else:
        try:
            check_endpoint()
        finally:
            # Whatever becomes of the endpoint: a transform job bills too.
            try:
                transform_jobs.check_batches()
            finally:
                settlement.settle_ended_jobs()
        usage.record_concurrency()
    state = hosting_state.state()
    log.info(f"After {action}", extra={"hosting": state.status, "version": state.version})
    return state.model_dump()


def wake_endpoint() -> None:
    """Make the endpoint of the live version, once, however many ask; nothing where no version is live."""
    live = versions.live()
    if live is None:
        return
    state = hosting_state.state()
    age = clock.seconds_since(state.since) if state.since else float("inf")
    if hosting_state.retry_seconds(state) or _is_deployed_now(state):
        return
    if state.status == "waking" and age < _SETTLING_SECONDS:
        return
    if state.status in {"waking", "awake"} and endpoint.describe() is not None:
        return
    if state.status == "waking" and state.tried:
        _make()
        return
    config = endpoint_configs.ensure_config(live.bundle_uri, instances.allowed_instances()[0])
    if state.status in {"waking", "awake"}:
        # The table says more than there is: someone deleted the endpoint, or died before making it.
        hosting_state.mark_asleep(state, "The endpoint was gone.")
    if hosting_state.claim_waking(live.version, config):
        _make()


def put_to_sleep(why: str) -> None:
    """Delete the endpoint, unless somebody used it since this was decided."""
    if hosting_state.mark_asleep(hosting_state.state(), why):
        endpoint.delete()


def check_endpoint() -> None:
    """Compare the table with SageMaker, put right what differs, and end what is idle or too old."""
    found = endpoint.describe()
    # Before the table is asked: what must go goes, also where the table cannot be read or a run is going.
    if found is not None and (why := _overdue(found)):
        _remove(found, why)
        return
    unpaid = _count(found)
    state = hosting_state.state()
    if found is None:
        _without_endpoint(state)
    elif unpaid is not None and found.status == "InService":
        _end_unpaid(f"{unpaid} {unpaid.cure}")
    elif found.status == "InService":
        _in_service(state, found)
    elif not found.busy:
        _broken(state, found)
    _scale()


def _count(found: Endpoint | None) -> SpendingRefused | None:
    """Count what the endpoint has cost, and set aside what it costs until the next ticks.

    Returns:
        Why the month has no money for that, else None.
    """
    if found is None:
        meter.record(None, clock.now())
    elif found.machines is None:
        endpoint.count_ended(found)
    else:
        most = environment.read(environment.Hosting).hosting_max_instances
        try:
            meter.extend_lease(found.machines, found.seen_at, most_instances=most)
        except SpendingRefused as refusal:
            return refusal
    return None


def _end_unpaid(reason: str) -> None:
    """End what the month has no money for, whoever uses it and whichever run waits for it."""
    hosting_state.mark_stopped(f"Asleep: {reason}")
    endpoint.delete()
    notifications.send_monthly("model", f"Asleep: {reason}")


def _scale() -> None:
    """Have the load scale what answers, and nothing else be scaled.

    Last, since nothing that ends a bill may wait for it; looked at anew, since the tick may have changed it.
    """
    found = endpoint.describe()
    if found is None or found.status == "Deleting":
        scaling.stop_scaling()
    elif found.status == "InService" and hosting_state.state().status == "awake":
        scaling.follow_load(found.instances)


def _overdue(found: Endpoint) -> str | None:
    """Say why an endpoint has to go whatever the table says; None where it may stay."""
    if found.status == "Deleting":
        return None
    if clock.now() - found.created_at > LONGEST_LIFE:
        return "Deleted after the longest life of an endpoint; a message wakes it."
    if found.busy and clock.now() - found.changed_at > hosting_state.LONGEST_CHANGE:
        minutes = hosting_state.LONGEST_CHANGE.total_seconds() / 60
        return f"Deleted after it hung in {found.status} for {minutes:g} minutes; a message wakes it."
    return None


def _remove(found: Endpoint, why: str) -> None:
    if endpoint.delete():
        hosting_state.mark_asleep(hosting_state.state(), why)
    else:
        _count(found)


def _make() -> None:
    """Make the endpoint that the table wants, on the first machine that the account may have."""
    for _ in instances.allowed_instances():
        state = hosting_state.state()
        if state.status != "waking" or not state.endpoint_config:
            return
        progress = endpoint.converge(state.endpoint_config)
        if progress.state != "failed":
            return
        if progress.unpaid:
            _end_unpaid(progress.message)
            return
        _give_up(state, state.endpoint_config, progress.message)


def _give_up(state: HostingState, config: str, reason: str) -> None:
    """Have the next machine tried where this one could not be had; else record why it does not wake."""
    short, live = instances.shortage(reason), versions.live()
    if short is None or live is None:
        hosting_state.mark_failing(reason)
        return
    refused = endpoint_configs.instance_of(config) or instances.allowed_instances()[0]
    why = instances.fall_back_to_next_instance(state, refused, short, live.bundle_uri)
    if why is not None:
        hosting_state.mark_failing(why, {**state.tried, refused: short})


def _without_endpoint(state: HostingState) -> None:
    if state.status == "awake":
        hosting_state.mark_asleep(state, "The endpoint was deleted; a message wakes it.")
    elif state.status == "waking" and not _is_deployed_now(state):
        _forget_dead_deployment(state)
        _make()
    elif state.status == "asleep" and state.sleep_by:
        hosting_state.clear_deadline()


def _forget_dead_deployment(state: HostingState) -> None:
    """Start the live version instead of the untested one of a run that died."""
    live = versions.live()
    if live is not None and state.version != live.version:
        hosting_state.clear_refusals()
        hosting_state.mark_waking(
            live.version, endpoint_configs.ensure_config(live.bundle_uri, instances.allowed_instances()[0])
        )


def _in_service(state: HostingState, found: Endpoint) -> None:
    if state.status == "asleep":
        # Deleting it failed, or it was made behind our back: it bills, so it goes.
        endpoint.delete()
    elif state.status == "awake" and _idle(state):
        # Before anything else that may fail, and would keep it for ever.
        _fall_asleep(state)
    elif lock.holder() is None:
        _without_run(state, found)
    elif state.status != "awake" and state.version and found.config == state.endpoint_config:
        hosting_state.mark_awake(state.version, found.config)


def _without_run(state: HostingState, found: Endpoint) -> None:
    """Have the live version answer, on whichever machine of the list it is."""
    live = versions.live()
    if live is None:
        if hosting_state.mark_asleep(state, "No version is live."):
            endpoint.delete()
        return
    wanted = endpoint_configs.ensure_config(
        live.bundle_uri, instances.current_or_default_instance(found.config)
    )
    if wanted not in {found.config, state.requested}:
        progress = endpoint.converge(wanted)
        if progress.state != "failed":
            return
        if progress.unpaid:
            _end_unpaid(progress.message)
        elif state.status != "awake":
            # What a dead run left was never tested, and there is no second machine to change it with.
            hosting_state.mark_waking(live.version, wanted)
            endpoint.delete()
        else:
            # It starts anew when it has slept.
            hosting_state.record_request(wanted)
    elif state.status != "awake" or state.endpoint_config != found.config:
        hosting_state.mark_awake(live.version, found.config)


def _idle(state: HostingState) -> bool:
    used = state.last_used_at or state.since
    return used is not None and clock.seconds_since(used) >= _idle_minutes() * 60


def _fall_asleep(state: HostingState) -> None:
    why = f"Asleep after {_idle_minutes():g} minutes without a message; a message wakes it."
    if hosting_state.mark_asleep(state, why):
        endpoint.delete()


def _idle_minutes() -> float:
    return environment.read(environment.Hosting).idle_minutes


def _broken(state: HostingState, found: Endpoint) -> None:
    if _is_deployed_now(state):
        return
    # What was not asked for since the waking began is left over: it only goes.
    if state.status == "awake" or (state.status == "waking" and state.requested == found.config):
        # Recorded before it is deleted: a crash in between is found here again, and ends the same.
        _give_up(state, found.config, found.failure or f"The endpoint was {found.status}.")
    endpoint.delete()


def _is_deployed_now(state: HostingState) -> bool:
    """Whether a run is bringing up a version: its smoke test then sees to what breaks."""
    live = versions.live()
    candidate = live is None or state.version != live.version
    return state.status == "waking" and candidate and lock.holder() is not None
