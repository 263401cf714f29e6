"""The SageMaker endpoint: looked at, and moved step by step towards the configuration it should have."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from contracts import environment, s3_keys
from contracts.resource_names import VARIANT
from shared import clock
from shared.aws import clients, consistency, tags
from shared.hosting import hosting_state, machines, rollback, scaling, shortages
from shared.spending import meter
from shared.spending.spending_refused import SpendingRefused

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import ProductionVariantSummaryTypeDef

log = Logger(service="endpoint", child=True)

CONTAINER_VARIABLES = {
    "SM_VLLM_CONFIG": "/opt/ml/model/serving.yaml",
    # The file says so too; where this is missing the container's entry point says /opt/ml/model, and wins.
    "SM_VLLM_MODEL": "/opt/ml/model/base",
    "CUSTOM_FASTAPI_MIDDLEWARE_PRE_POST_PROCESS": "name_adapter.py:NameAdapter",
}
"""What the model's container is told; the paths and the module lie in the bundle."""
_START_SECONDS = 1200
"""How long the container may take to load the model; vLLM compiles for minutes on its first start."""
_ROUTING = "LEAST_OUTSTANDING_REQUESTS"
"""Of several machines the one with the fewest answers under way; by chance, one would write most of them."""
_BUSY = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
_IN_SERVICE = "InService"


@dataclass(frozen=True)
class Endpoint:
    """What SageMaker says of the endpoint now."""

    status: str
    config: str
    created_at: datetime
    changed_at: datetime
    """When its status last changed."""
    seen_at: datetime
    failure: str | None
    instances: int = 1
    """How many machines answer."""
    pending: str | None = None
    """The configuration that it is being made in or changed to."""

    @property
    def busy(self) -> bool:
        """Whether SageMaker is changing it, and refuses other changes."""
        return self.status in _BUSY

    @property
    def answers(self) -> bool:
        """Whether it takes requests; a blue/green update goes on answering."""
        return self.status in {_IN_SERVICE, "Updating", "SystemUpdating", "RollingBack"}

    @property
    def machines(self) -> meter.Machines | None:
        """What bills; None if its machines never came, or are going."""
        if self.status in {"Failed", "Deleting"}:
            return None
        fleets = {machines.instance_of(self.config) or "unknown": self.instances}
        if self.status == "RollingBack" or (self.status == "Updating" and self.pending):
            # Those of the new configuration beside those of the old one, until the change is over. An
            # endpoint that is scaled is Updating, too, without another configuration.
            beside = machines.instance_of(self.pending or self.config) or "unknown"
            fleets[beside] = fleets.get(beside, 0) + self.instances
        return meter.Machines(fleets, self.created_at, self.changed_at, busy=self.busy)

    @property
    def failed_machines(self) -> meter.Machines | None:
        """What billed until it failed; None if it did not fail, or there was no machine for it."""
        if self.status != "Failed" or shortages.shortage(self.failure) is not None:
            return None
        instance = machines.instance_of(self.config) or "unknown"
        return meter.Machines({instance: self.instances}, self.created_at, self.changed_at)

    @property
    def ended_at(self) -> datetime | None:
        """When its machines went; None if they are there, or nothing says it."""
        return self.changed_at if self.status == "Failed" else None


@dataclass(frozen=True)
class Progress:
    """How far the endpoint is from the configuration it should have."""

    state: Literal["waiting", "ready", "failed"]
    message: str
    unpaid: bool = False
    """Whether it failed because the month has no money for its machines."""


def describe() -> Endpoint | None:
    """Look at the endpoint; None where there is none."""
    seen_at = clock.now()
    try:
        found = clients.sagemaker().describe_endpoint(EndpointName=_settings().endpoint_name)
    except ClientError as error:
        if consistency.is_not_found(error):
            return None
        raise
    return Endpoint(
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        created_at=found["CreationTime"],
        changed_at=found["LastModifiedTime"],
        seen_at=seen_at,
        failure=found.get("FailureReason"),
        instances=_instances(found.get("ProductionVariants", [])),
        pending=found.get("PendingDeploymentSummary", {}).get("EndpointConfigName"),
    )


def _instances(variants: Sequence["ProductionVariantSummaryTypeDef"]) -> int:
    # While the first one is being looked for there are none; it is counted, as it may bill already.
    return max(1, sum(variant.get("CurrentInstanceCount", 0) for variant in variants))


def ensure_config(bundle_uri: str, instance: str) -> str:
    """Make the SageMaker model and endpoint configuration of a bundle on a machine where they are missing.

    The name holds the version that the bundle was made for, the machine, and a digest of the bundle and the
    hosting settings: the same settings find what is there, and a changed instance type or image makes another
    configuration. Which version of the bundle answers changes nothing.

    Returns:
        The endpoint configuration's name; the model's is the same.
    """
    settings = _settings()
    facts = [bundle_uri, settings.hosting_image, instance, settings.inference_ami, _ROUTING]
    facts += [settings.hosting_role_arn, *CONTAINER_VARIABLES.values()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    name = environment.common().names.endpoint_config(s3_keys.bundled_for(bundle_uri), instance, digest)
    _create_once(
        "create_model",
        ModelName=name,
        PrimaryContainer={
            "Image": settings.hosting_image,
            "ModelDataSource": {
                "S3DataSource": {"S3Uri": bundle_uri, "S3DataType": "S3Prefix", "CompressionType": "None"}
            },
            "Environment": CONTAINER_VARIABLES,
        },
        ExecutionRoleArn=settings.hosting_role_arn,
        EnableNetworkIsolation=True,
        Tags=tags.of_the_app(),
    )
    variant: dict[str, Any] = {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": instance,
        "InitialInstanceCount": 1,
        "RoutingConfig": {"RoutingStrategy": _ROUTING},
        "ModelDataDownloadTimeoutInSeconds": _START_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": _START_SECONDS,
    }
    if settings.inference_ami:
        variant["InferenceAmiVersion"] = settings.inference_ami
    _create_once(
        "create_endpoint_config",
        EndpointConfigName=name,
        ProductionVariants=[variant],
        Tags=tags.of_the_app(),
    )
    return name


def converge(wanted: str, *, watched: bool = False) -> Progress:
    """Move the endpoint one step towards this configuration: make it, change it, wait, or give up.

    It may be called as often as one likes, by several functions at once: SageMaker refuses all but the
    first of racing calls, and that refusal counts as waiting.

    Args:
        wanted: the configuration.
        watched: have SageMaker put the one before it back when an alarm rings soon after the change. Not
            where what is known to be good is put back, nor while an alarm rings already: it rings for what
            is to be replaced, and would keep it.
    """
    found = describe()
    if found is None:
        refusal = _create(wanted)
        return refusal or Progress("waiting", "The machine that hosts the model is starting.")
    if found.busy:
        return Progress("waiting", f"The endpoint is {found.status.lower()}.")
    refused = hosting_state.state().requested == wanted
    if found.status != _IN_SERVICE:
        return _give_up_or_remove(found, refused)
    if found.config == wanted:
        return Progress("ready", "The endpoint is in service.")
    if refused:
        reason = found.failure or rollback.why(found) or "The new configuration did not come into service."
        return Progress("failed", f"SageMaker put the configuration before it back. {reason}")
    refusal = _update(wanted, found, watched=watched)
    return refusal or Progress(
        "waiting", "The endpoint is taking the new model; the one before it answers until then."
    )


def _give_up_or_remove(broken: Endpoint, refused: bool) -> Progress:
    if refused:
        return Progress("failed", broken.failure or f"The endpoint is {broken.status}.")
    delete()
    return Progress("waiting", "A broken endpoint is being removed first.")


def delete() -> bool:
    """Delete the endpoint, and settle what it has cost.

    Returns:
        False where SageMaker does not allow it yet; True where it goes, or there is none.
    """
    found = describe()
    if found is not None and found.status == "Deleting":
        return True
    if found is not None:
        _note_deletion(found)
    try:
        clients.sagemaker().delete_endpoint(EndpointName=_settings().endpoint_name)
    except ClientError as error:
        if _is_refused(error):
            return False
        if not consistency.is_not_found(error):
            raise
        found = None
    meter.close(found.machines if found else None, clock.now())
    # Last: what no longer scales anything costs nothing, and the keeper's next tick finds what is left here.
    scaling.stop()
    return True


def _note_deletion(found: Endpoint) -> None:
    """Note when the machines go. What must go goes also while the table cannot be written."""
    try:
        if found.machines is not None:
            meter.record_deletion(found.machines, clock.now())
        else:
            count_ended(found)
    except (BotoCoreError, ClientError):
        log.exception("Could not note that the endpoint is being deleted")


def count_ended(found: Endpoint) -> None:
    """Count an endpoint whose machines have gone, also if nobody saw it before it failed."""
    if found.failed_machines is not None:
        meter.record(found.failed_machines, found.changed_at)
    meter.record(None, found.seen_at, ended_at=found.ended_at)


def _create(config: str) -> Progress | None:
    """Make the endpoint; returns what to say where the account may have no such machine."""
    settings = _settings()
    # There is no endpoint: whoever deleted the one before it may have died before its end was counted.
    meter.record(None, clock.now())
    try:
        meter.reserve_start(_instance_of(config))
    except SpendingRefused as refusal:
        return _unpaid(refusal)
    try:
        clients.sagemaker().create_endpoint(
            EndpointName=settings.endpoint_name, EndpointConfigName=config, Tags=tags.of_the_app()
        )
    except ClientError as error:
        if _is_over_quota(error):
            return _over_quota(error)
        if not _is_there(error) and not consistency.is_not_found(error):
            raise
        # Somebody else's, perhaps in another configuration, or ours is not known everywhere yet: it has not
        # been asked for, and the next call looks again.
        return None
    hosting_state.note_request(config)
    return None


def _update(config: str, found: Endpoint, *, watched: bool) -> Progress | None:
    """Change the endpoint; returns what to say where the account may not have a second machine meanwhile."""
    watch_seconds = rollback.watch_seconds() if watched else 0
    # Also an update before this one that no tick has seen.
    meter.record(found.machines, found.seen_at)
    try:
        # Those that answer stay until the new ones do.
        meter.reserve_start(_instance_of(config), found.instances, watch_seconds=watch_seconds)
    except SpendingRefused as refusal:
        return _unpaid(refusal)
    scaling.stop()
    watch = watched and rollback.watch_seconds() > 0 and not rollback.ringing()
    deployment: dict[str, Any] = {"DeploymentConfig": _watch()} if watch else {}
    try:
        clients.sagemaker().update_endpoint(
            EndpointName=_settings().endpoint_name,
            EndpointConfigName=config,
            # As many machines as the load has asked for, not the one of the configuration.
            RetainAllVariantProperties=True,
            **deployment,
        )
    except ClientError as error:
        if _is_over_quota(error):
            return _over_quota(error)
        if not _is_refused(error) and not consistency.is_not_found(error):
            raise
        return None
    hosting_state.note_request(config)
    return None


def _watch() -> dict[str, Any]:
    """All questions go to the new machines at once; the old ones stay until the alarms have kept quiet."""
    seconds = rollback.watch_seconds()
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": seconds,
            "MaximumExecutionTimeoutInSeconds": 2 * _START_SECONDS + seconds,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in rollback.alarms()]},
    }


def _create_once(operation: str, **fields: Any) -> None:
    try:
        consistency.retry_until_visible(getattr(clients.sagemaker(), operation), **fields)
    except ClientError as error:
        if not _is_there(error):
            raise


def _is_refused(error: ClientError) -> bool:
    # "Cannot update in-progress endpoint": somebody else's change is under way.
    return "in-progress" in error.response["Error"]["Message"].lower()


def _is_there(error: ClientError) -> bool:
    return "already exist" in error.response["Error"]["Message"]


def _is_over_quota(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ResourceLimitExceeded"


def _unpaid(refusal: SpendingRefused) -> Progress:
    return Progress("failed", f"{refusal} {refusal.cure}", unpaid=True)


def _instance_of(config: str) -> str:
    return machines.instance_of(config) or "unknown"


def _over_quota(error: ClientError) -> Progress:
    return Progress("failed", f"ResourceLimitExceeded: {error.response['Error']['Message']}")


def _settings() -> environment.Hosting:
    return environment.read(environment.Hosting)
