"""Start the endpoint when it is needed, delete it when it is not, and correct its state in the table."""

from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from contracts import environment, statuses
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
"""The longest life of an endpoint, whatever is in the table; the next message wakes the model again."""
_SETTLING_SECONDS = 60
"""How long the caller that woke the endpoint has to create it."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Wake the endpoint, put it to sleep, or check it.

    Args:
        event: `{"action": "tick", "wake" or "sleep"}`; any other event, for instance a schedule's, is a tick.
        context: Lambda's.

    Returns:
        The hosting state afterwards.
    """
    action = event.get("action", "tick")
    if action == "wake":
        wake_endpoint()
    elif action == "sleep":
        sleep_endpoint("Put to sleep by hand.")
    else:
        try:
            check_endpoint()
        finally:
            # Even if the check of the endpoint fails, because a transform job is billed too.
            try:
                transform_jobs.check_batches()
            finally:
                settlement.settle_ended_jobs()
        usage.record_concurrency()
    state = hosting_state.state()
    log.info(f"After {action}", extra={"hosting": state.status, "version": state.version})
    return state.model_dump()


def wake_endpoint() -> None:
    """Create the endpoint of the live version, once for any number of callers; nothing if none is live."""
    live = versions.live()
    if live is None:
        return
    state = hosting_state.state()
    age = clock.seconds_since(state.since) if state.since else float("inf")
    if hosting_state.retry_seconds(state) or _is_being_deployed(state):
        return
    if state.status == statuses.WAKING and age < _SETTLING_SECONDS:
        return
    if state.status in {statuses.WAKING, statuses.AWAKE} and endpoint.describe() is not None:
        return
    if state.status == statuses.WAKING and state.tried:
        _create_endpoint()
        return
    config = endpoint_configs.ensure_config(live.bundle_uri, instances.allowed_instances()[0])
    if state.status in {statuses.WAKING, statuses.AWAKE}:
        # The endpoint was deleted outside the app, or its creator died before creating it.
        hosting_state.mark_asleep(state, "The endpoint was deleted outside the app.")
    if hosting_state.claim_waking(live.version, config):
        _create_endpoint()


def sleep_endpoint(why: str) -> None:
    """Delete the endpoint, unless it was used since this was decided."""
    if hosting_state.mark_asleep(hosting_state.state(), why):
        endpoint.delete()


def check_endpoint() -> None:
    """Compare the table with SageMaker, correct differences, and delete an idle or too old endpoint."""
    found = endpoint.describe()
    # Before the table is read, so that an overdue endpoint is deleted even if the table fails or a run is
    # active.
    if found is not None and (why := _overdue_reason(found)):
        _delete_overdue(found, why)
        return
    unpaid = _count_costs(found)
    state = hosting_state.state()
    if found is None:
        _handle_missing(state)
    elif unpaid is not None and found.status == "InService":
        _end_unpaid(f"{unpaid} {unpaid.cure}")
    elif found.status == "InService":
        _handle_in_service(state, found)
    elif not found.busy:
        _handle_broken(state, found)
    _scale()


def _count_costs(found: Endpoint | None) -> SpendingRefused | None:
    """Record what the endpoint has cost, and reserve what it costs until the next ticks.

    Returns:
        The refusal if the month's limit leaves too little for that, else None.
    """
    if found is None:
        meter.record(None, clock.now())
    elif found.billed_instances is None:
        endpoint.count_ended(found)
    else:
        most = environment.read(environment.Hosting).hosting_max_instances
        try:
            meter.extend_lease(found.billed_instances, found.seen_at, most_instances=most)
        except SpendingRefused as refusal:
            return refusal
    return None


def _end_unpaid(reason: str) -> None:
    """Delete the endpoint because of the month's limit, even if it is used or a run waits for it."""
    hosting_state.mark_stopped(f"Asleep: {reason}")
    endpoint.delete()
    notifications.send_monthly("model", f"Asleep: {reason}")


def _scale() -> None:
    """Scale the endpoint with its load if it is awake, else stop scaling.

    This is last, because nothing that ends a cost may wait for it. The endpoint is described again, because
    the check may have changed it.
    """
    found = endpoint.describe()
    if found is None or found.status == "Deleting":
        scaling.stop_scaling()
    elif found.status == "InService" and hosting_state.state().status == statuses.AWAKE:
        scaling.follow_load(found.instances)


def _overdue_reason(found: Endpoint) -> str | None:
    """Return why an endpoint must be deleted, whatever is in the table; None if it may stay."""
    if found.status == "Deleting":
        return None
    if clock.now() - found.created_at > LONGEST_LIFE:
        return f"Deleted after {LONGEST_LIFE.total_seconds() / 3600:g} hours; a message wakes it."
    if found.busy and clock.now() - found.changed_at > hosting_state.LONGEST_CHANGE:
        minutes = hosting_state.LONGEST_CHANGE.total_seconds() / 60
        return f"Deleted after it was stuck in {found.status} for {minutes:g} minutes; a message wakes it."
    return None


def _delete_overdue(found: Endpoint, why: str) -> None:
    if endpoint.delete():
        hosting_state.mark_asleep(hosting_state.state(), why)
    else:
        _count_costs(found)


def _create_endpoint() -> None:
    """Create the endpoint that the table requires, with the first instance type that can be had."""
    for _ in instances.allowed_instances():
        state = hosting_state.state()
        if state.status != statuses.WAKING or not state.endpoint_config:
            return
        progress = endpoint.converge(state.endpoint_config)
        if progress.state != "failed":
            return
        if progress.unpaid:
            _end_unpaid(progress.message)
            return
        _try_next_instance(state, state.endpoint_config, progress.message)


def _try_next_instance(state: HostingState, config: str, reason: str) -> None:
    """Try the next instance type if this one cannot be had; otherwise record why the model does not wake."""
    short, live = instances.shortage(reason), versions.live()
    if short is None or live is None:
        hosting_state.mark_failing(reason)
        return
    refused = endpoint_configs.instance_of(config) or instances.allowed_instances()[0]
    why = instances.fall_back_to_next_instance(state, refused, short, live.bundle_uri)
    if why is not None:
        hosting_state.mark_failing(why, {**state.tried, refused: short})


def _handle_missing(state: HostingState) -> None:
    if state.status == statuses.AWAKE:
        hosting_state.mark_asleep(state, "The endpoint was deleted; a message wakes it.")
    elif state.status == statuses.WAKING and not _is_being_deployed(state):
        _replace_dead_deployment(state)
        _create_endpoint()
    elif state.status == statuses.ASLEEP and state.sleep_by:
        hosting_state.clear_deadline()


def _replace_dead_deployment(state: HostingState) -> None:
    """Start the live version instead of the untested version of a dead run."""
    live = versions.live()
    if live is not None and state.version != live.version:
        hosting_state.clear_refusals()
        hosting_state.mark_waking(
            live.version, endpoint_configs.ensure_config(live.bundle_uri, instances.allowed_instances()[0])
        )


def _handle_in_service(state: HostingState, found: Endpoint) -> None:
    if state.status == statuses.ASLEEP:
        # Its deletion failed, or it was created outside the app. It is billed, so delete it.
        endpoint.delete()
    elif state.status == statuses.AWAKE and _is_idle(state):
        # Before anything else that may fail, and would keep the endpoint forever.
        _fall_asleep(state)
    elif lock.holder() is None:
        _handle_no_run(state, found)
    elif state.status != statuses.AWAKE and state.version and found.config == state.endpoint_config:
        hosting_state.mark_awake(state.version, found.config)


def _handle_no_run(state: HostingState, found: Endpoint) -> None:
    """Deploy the live version, on the current instance type, because no run is active."""
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
        elif state.status != statuses.AWAKE:
            # A dead run left an untested version, and there is no second instance for an update.
            hosting_state.mark_waking(live.version, wanted)
            endpoint.delete()
        else:
            # It is created with the new configuration when it has slept.
            hosting_state.record_request(wanted)
    elif state.status != statuses.AWAKE or state.endpoint_config != found.config:
        hosting_state.mark_awake(live.version, found.config)


def _is_idle(state: HostingState) -> bool:
    used = state.last_used_at or state.since
    return used is not None and clock.seconds_since(used) >= _idle_minutes() * 60


def _fall_asleep(state: HostingState) -> None:
    why = f"Asleep after {_idle_minutes():g} minutes without a message; a message wakes it."
    if hosting_state.mark_asleep(state, why):
        endpoint.delete()


def _idle_minutes() -> float:
    return environment.read(environment.Hosting).idle_minutes


def _handle_broken(state: HostingState, found: Endpoint) -> None:
    if _is_being_deployed(state):
        return
    # An endpoint that was not requested since the waking began is left over, and is only deleted.
    if state.status == statuses.AWAKE or (
        state.status == statuses.WAKING and state.requested == found.config
    ):
        # Record this before the deletion, so that after a crash in between the next check does the same.
        _try_next_instance(state, found.config, found.failure or f"The endpoint was {found.status}.")
    endpoint.delete()


def _is_being_deployed(state: HostingState) -> bool:
    """Return whether a run is deploying a version; its smoke test then handles failures."""
    live = versions.live()
    candidate = live is None or state.version != live.version
    return state.status == statuses.WAKING and candidate and lock.holder() is not None
