"""Describe the SageMaker endpoint, and move it step by step to the configuration that it should have."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment
from shared import clock
from shared.aws import clients, sagemaker_calls
from shared.hosting import endpoint_configs, hosting_state, instances, rollback, scaling
from shared.spending import meter
from shared.spending.spending_refused import SpendingRefused

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import ProductionVariantSummaryTypeDef

log = Logger(service="endpoint", child=True)

_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
_IN_SERVICE = "InService"


@dataclass(frozen=True)
class Endpoint:
    """The endpoint as SageMaker describes it."""

    status: str
    config: str
    created_at: datetime
    changed_at: datetime
    """When its status last changed."""
    seen_at: datetime
    failure: str | None
    instances: int = 1
    """How many instances it has; while it is being scaled, also those that are being started."""
    pending: str | None = None
    """The configuration that it is being created with or updated to."""

    @property
    def busy(self) -> bool:
        """Whether SageMaker is changing it, and refuses other changes."""
        return self.status in _BUSY

    @property
    def answers(self) -> bool:
        """Whether it answers requests; it does during a blue/green update."""
        return self.status in {_IN_SERVICE, "Updating", "SystemUpdating", "RollingBack"}

    @property
    def billed_instances(self) -> meter.ObservedInstances | None:
        """The billed instances; None if they never started, or are being deleted."""
        if self.status in {"Failed", "Deleting"}:
            return None
        fleets = {endpoint_configs.instance_of(self.config) or "unknown": self.instances}
        if self.status == "RollingBack" or (self.status == "Updating" and self.pending):
            # The new configuration's instances run beside the old ones until the update is over. An endpoint
            # that is being scaled is Updating too, but without another configuration.
            beside = endpoint_configs.instance_of(self.pending or self.config) or "unknown"
            fleets[beside] = fleets.get(beside, 0) + self.instances
        # A rollback changes the status, but the new configuration's instances were there before it.
        changed_at = None if self.status == "RollingBack" else self.changed_at
        return meter.ObservedInstances(fleets, self.created_at, changed_at, busy=self.busy)

    @property
    def failed_instances(self) -> meter.ObservedInstances | None:
        """The instances that were billed until it failed; None if it did not fail, or never had any."""
        if self.status != "Failed" or instances.shortage(self.failure) is not None:
            return None
        instance = endpoint_configs.instance_of(self.config) or "unknown"
        return meter.ObservedInstances({instance: self.instances}, self.created_at, self.changed_at)

    @property
    def ended_at(self) -> datetime | None:
        """When its instances were released; None if they were not, or the time is not known."""
        return self.changed_at if self.status == "Failed" else None


@dataclass(frozen=True)
class EndpointProgress:
    """How far the endpoint is from the configuration that it should have."""

    state: Literal["waiting", "ready", "failed"]
    message: str
    unpaid: bool = False
    """Whether it failed because the month's limit leaves too little for its instances."""


def describe() -> Endpoint | None:
    """Return the endpoint as SageMaker describes it; None if there is none."""
    seen_at = clock.now()
    try:
        found = clients.sagemaker().describe_endpoint(EndpointName=_settings().endpoint_name)
    except ClientError as error:
        if sagemaker_calls.is_not_found(error):
            return None
        raise
    return Endpoint(
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        created_at=found["CreationTime"],
        changed_at=found["LastModifiedTime"],
        seen_at=seen_at,
        failure=found.get("FailureReason"),
        instances=_instances(found.get("ProductionVariants", []), found["EndpointStatus"]),
        pending=found.get("PendingDeploymentSummary", {}).get("EndpointConfigName"),
    )


def _instances(variants: Sequence["ProductionVariantSummaryTypeDef"], status: str) -> int:
    # Before the first instance is found the count is 0; it counts as one, because it may be billed already.
    current = max(1, sum(variant.get("CurrentInstanceCount", 0) for variant in variants))
    if status != "Updating":
        return current
    # Instances that scaling adds are billed while they start, before they are among the current ones.
    return max(current, sum(variant.get("DesiredInstanceCount", 0) for variant in variants))


def converge(wanted: str, *, watched: bool = False) -> EndpointProgress:
    """Move the endpoint one step towards this configuration: create it, update it, wait, or give up.

    Several functions may call this at the same time, and repeat it: SageMaker refuses all but the first of
    racing calls, and a refusal counts as waiting.

    Args:
        wanted: the configuration.
        watched: whether SageMaker rolls back if an alarm fires soon after the update. This is False for a
            version that is known to be good. It has no effect while an alarm is active, because that alarm is
            about the version to be replaced, and would keep it.
    """
    found = describe()
    if found is None:
        refusal = _create(wanted)
        return refusal or EndpointProgress("waiting", "The instance that hosts the model is starting.")
    if found.busy:
        return EndpointProgress("waiting", f"The endpoint is {found.status.lower()}.")
    refused = hosting_state.state().requested == wanted
    if found.status != _IN_SERVICE:
        return _give_up_or_remove(found, refused)
    if found.config == wanted:
        return EndpointProgress("ready", "The endpoint is in service.")
    if refused:
        reason = (
            found.failure
            or rollback.rollback_reason(found.changed_at, found.seen_at)
            or "The new configuration did not come into service."
        )
        return EndpointProgress("failed", f"SageMaker put the configuration before it back. {reason}")
    refusal = _update(wanted, found, watched=watched)
    return refusal or EndpointProgress(
        "waiting", "The endpoint is taking the new model; the one before it answers until then."
    )


def _give_up_or_remove(broken: Endpoint, refused: bool) -> EndpointProgress:
    if refused:
        return EndpointProgress("failed", broken.failure or f"The endpoint is {broken.status}.")
    delete()
    return EndpointProgress("waiting", "A broken endpoint is being removed first.")


def delete() -> bool:
    """Delete the endpoint, and settle what it has cost.

    Returns:
        False if SageMaker does not allow it yet; True if it is being deleted, or there is none.
    """
    found = describe()
    if found is not None and found.status == "Deleting":
        return True
    if found is not None:
        _record_deletion(found)
    try:
        clients.sagemaker().delete_endpoint(EndpointName=_settings().endpoint_name)
    except ClientError as error:
        if _is_refused(error):
            return False
        if not sagemaker_calls.is_not_found(error):
            raise
        found = None
    if found is None:
        # It was deleted by somebody else, possibly before it was ever observed.
        meter.record(None, clock.now())
    meter.close(found.billed_instances if found else None, clock.now())
    # Last, because a scaling policy without an endpoint costs nothing, and the endpoint manager's next tick
    # removes what is left.
    scaling.stop_scaling()
    return True


def _record_deletion(found: Endpoint) -> None:
    """Record the deletion of the instances; an error of the table does not prevent the deletion."""
    try:
        if found.billed_instances is not None and found.busy:
            # SageMaker refuses to delete it now. The instances are billed until a later deletion.
            meter.record(found.billed_instances, clock.now())
        elif found.billed_instances is not None:
            meter.record_deletion(found.billed_instances, clock.now())
        else:
            count_ended(found)
    except (BotoCoreError, ClientError):
        log.exception("Could not record that the endpoint is being deleted")


def count_ended(found: Endpoint) -> None:
    """Record the costs of an endpoint whose instances are released, even if it was not observed before."""
    if found.failed_instances is not None:
        meter.record(found.failed_instances, found.changed_at)
    meter.record(None, found.seen_at, ended_at=found.ended_at)


def _create(config: str) -> EndpointProgress | None:
    """Create the endpoint; returns the refusal if the quota or the month's limit does not allow it."""
    settings = _settings()
    # The function that deleted the last endpoint may have died before it recorded the end.
    meter.record(None, clock.now())
    try:
        meter.reserve_start(_instance_of(config))
    except SpendingRefused as refusal:
        return _unpaid(refusal)
    try:
        clients.sagemaker().create_endpoint(
            EndpointName=settings.endpoint_name, EndpointConfigName=config, Tags=sagemaker_calls.app_tags()
        )
    except ClientError as error:
        if _is_over_quota(error):
            return _over_quota(error)
        if not sagemaker_calls.already_exists(error) and not sagemaker_calls.is_not_found(error):
            raise
        # Another call created an endpoint, or our configuration is not visible yet. Ours was not requested;
        # the next call looks again.
        return None
    hosting_state.record_request(config)
    meter.confirm_start()
    return None


def _update(config: str, found: Endpoint, *, watched: bool) -> EndpointProgress | None:
    """Update the endpoint; returns the refusal if the quota or the month's limit does not allow it."""
    watch_seconds = rollback.watch_seconds() if watched else 0
    # This also records an earlier update that no tick has observed.
    meter.record(found.billed_instances, found.seen_at)
    try:
        # The old instances stay until the new ones answer.
        meter.reserve_start(_instance_of(config), found.instances, watch_seconds=watch_seconds)
    except SpendingRefused as refusal:
        return _unpaid(refusal)
    scaling.stop_scaling()
    watch = watched and rollback.watch_seconds() > 0 and not rollback.is_alarm_active()
    deployment: dict[str, Any] = {"DeploymentConfig": rollback.deployment_config()} if watch else {}
    try:
        clients.sagemaker().update_endpoint(
            EndpointName=_settings().endpoint_name,
            EndpointConfigName=config,
            # Keep the number of instances that the load requires, instead of the configuration's one.
            RetainAllVariantProperties=True,
            **deployment,
        )
    except ClientError as error:
        if _is_over_quota(error):
            return _over_quota(error)
        if not _is_refused(error) and not sagemaker_calls.is_not_found(error):
            raise
        return None
    hosting_state.record_request(config)
    meter.confirm_start()
    return None


def _is_refused(error: ClientError) -> bool:
    # "Cannot update in-progress endpoint": another change is in progress.
    return "in-progress" in error.response["Error"]["Message"].lower()


def _is_over_quota(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ResourceLimitExceeded"


def _unpaid(refusal: SpendingRefused) -> EndpointProgress:
    return EndpointProgress("failed", f"{refusal} {refusal.cure}", unpaid=True)


def _instance_of(config: str) -> str:
    return endpoint_configs.instance_of(config) or "unknown"


def _over_quota(error: ClientError) -> EndpointProgress:
    return EndpointProgress("failed", f"ResourceLimitExceeded: {error.response['Error']['Message']}")


def _settings() -> environment.Hosting:
    return environment.read(environment.Hosting)
