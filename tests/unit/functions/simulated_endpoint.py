"""SageMaker's endpoint API and Application Auto Scaling in memory, with a clock, failures and a bill."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from shared.hosting import endpoint_configs

CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
_BUSY = {"Creating", "Updating", "RollingBack", "Deleting"}


class Crashed(Exception):  # noqa: N818 - what happens to a function, not an error of its own
    """The function died before this call."""


@dataclass
class Time:
    """A clock that only the test moves."""

    now: datetime = datetime(2026, 9, 30, 12, tzinfo=UTC)

    def pass_by(self, **length: float) -> None:
        self.now += timedelta(**length)


@dataclass
class Trouble:
    """Which of the next calls does not go through, and how."""

    after: int | None = None
    crash: bool = True
    happened: bool = False

    def strike(self, operation: str) -> None:
        if self.after is None:
            return
        self.after -= 1
        if self.after >= 0:
            return
        self.after = None if not self.crash else -1
        self.happened = True
        if self.crash:
            raise Crashed(operation)
        raise _error("InternalFailure", "The request processing has failed.", operation)


class Troubled:
    """A client of which any call may not go through."""

    def __init__(self, client: Any, trouble: Trouble) -> None:
        """Stand between a client and its callers."""
        self._client, self._trouble = client, trouble

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found) or name == "exceptions":
            return found

        def call(*names: str, **fields: Any) -> Any:
            self._trouble.strike(name)
            return found(*names, **fields)

        return call


@dataclass
class SimulatedEndpoint:
    """One account's endpoint, and what it is billed for."""

    time: Time
    status: str | None = None
    config: str = ""
    wanted: str = ""
    created_at: datetime | None = None
    changed_at: datetime | None = None
    failure: str | None = None
    short: dict[str, str] = field(default_factory=dict)
    """Instance types that cannot be had: `capacity` or `quota`."""
    quotas: dict[str, int] = field(default_factory=dict)
    """How many instances of a type the account may have at once; as many as anybody asks for if not here."""
    instances: int = 1
    scalable: dict[str, Any] | None = None
    """The scalable target, while one is registered."""
    policy: dict[str, Any] | None = None
    billed: list[tuple[datetime, datetime, dict[str, int]]] = field(default_factory=list)
    """From when to when, and how many machines of each type."""
    billing_since: datetime | None = None
    ended_unseen: bool = False
    """Whether billing ended or changed by SageMaker's or somebody's doing since this was last asked."""

    def describe_endpoint(self, **_: Any) -> dict[str, Any]:
        self._must_exist("DescribeEndpoint")
        found: dict[str, Any] = {
            "EndpointStatus": self.status,
            "EndpointConfigName": self.config,
            "CreationTime": self.created_at,
            "LastModifiedTime": self.changed_at,
            "ProductionVariants": [{"VariantName": "main", "CurrentInstanceCount": self.instances}],
        }
        if self.status in {"Creating", "Updating", "RollingBack"}:
            found["PendingDeploymentSummary"] = {"EndpointConfigName": self.wanted}
        return found if self.failure is None else {**found, "FailureReason": self.failure}

    def get_paginator(self, operation: str) -> Any:
        """No job is going: those have tests of their own."""
        kind = {"list_training_jobs": "Training", "list_processing_jobs": "Processing"}.get(
            operation, "Transform"
        )
        return _NoJobs(f"{kind}JobSummaries")

    def create_model(self, **_: Any) -> None:
        """Every model already exists."""

    def create_endpoint_config(self, **_: Any) -> None:
        """Every configuration already exists."""

    # boto3 names its arguments so
    def create_endpoint(self, *, EndpointConfigName: str, **_: Any) -> None:  # noqa: N803
        if self.status is not None:
            raise _error("ValidationException", "Cannot create already existing endpoint.", "CreateEndpoint")
        self._within_quota(EndpointConfigName, "CreateEndpoint")
        self.config = self.wanted = EndpointConfigName
        self.created_at = self.billing_since = self.time.now
        self.failure, self.instances = None, 1
        self._become("Creating")

    # boto3 names its arguments so
    def update_endpoint(self, *, EndpointConfigName: str, **_: Any) -> None:  # noqa: N803
        self._must_exist("UpdateEndpoint")
        self._must_rest("UpdateEndpoint")
        self._within_quota(EndpointConfigName, "UpdateEndpoint", beside=self.instances)
        changes = endpoint_configs.instance_of(EndpointConfigName) != endpoint_configs.instance_of(
            self.config
        )
        if changes and self.scalable is not None:
            raise _error("ValidationException", "It must be deregistered first.", "UpdateEndpoint")
        # From now on both fleets bill, until the change is over.
        self._stop_billing()
        self.wanted, self.failure, self.billing_since = EndpointConfigName, None, self.time.now
        self._become("Updating")

    def delete_endpoint(self, **_: Any) -> None:
        self._must_exist("DeleteEndpoint")
        self._must_rest("DeleteEndpoint")
        self._stop_billing()
        self._become("Deleting")

    # boto3 names its arguments so
    def update_endpoint_weights_and_capacities(
        self,
        *,
        DesiredWeightsAndCapacities: list[dict[str, Any]],  # noqa: N803
        **_: Any,
    ) -> None:
        self._must_exist("UpdateEndpointWeightsAndCapacities")
        self._must_rest("UpdateEndpointWeightsAndCapacities")
        self._have(DesiredWeightsAndCapacities[0]["DesiredInstanceCount"])

    # boto3 names its arguments so
    def register_scalable_target(self, *, MinCapacity: int, MaxCapacity: int, **_: Any) -> None:  # noqa: N803
        self._must_exist("RegisterScalableTarget")
        self.scalable = {"MinCapacity": MinCapacity, "MaxCapacity": MaxCapacity}

    def describe_scalable_targets(self, **_: Any) -> dict[str, Any]:
        return {"ScalableTargets": [self.scalable] if self.scalable else []}

    def deregister_scalable_target(self, **_: Any) -> None:
        if self.scalable is None:
            raise _error("ObjectNotFoundException", "No scalable target.", "DeregisterScalableTarget")
        self.scalable = self.policy = None

    def put_scaling_policy(self, **fields: Any) -> None:
        if self.scalable is None:
            raise _error("ObjectNotFoundException", "No scalable target.", "PutScalingPolicy")
        self.policy = fields

    def describe_scaling_policies(self, **_: Any) -> dict[str, Any]:
        return {"ScalingPolicies": [self.policy] if self.policy else []}

    def describe_alarm_history(self, **_: Any) -> dict[str, Any]:
        """No alarm has ever rung."""
        return {"AlarmHistoryItems": []}

    def load_asks_for(self, instances: int) -> None:
        """Scale if there is a policy to scale by."""
        if self.status == "InService" and self.scalable is not None and self.policy is not None:
            low, high = self.scalable["MinCapacity"], self.scalable["MaxCapacity"]
            self._have(min(high, max(low, instances)))

    def _have(self, instances: int) -> None:
        if instances != self.instances and self.billing_since is not None:
            self.ended_unseen = True
            self._stop_billing()
            self.billing_since = self.time.now
        self.instances = instances

    def go_on(self, well: bool) -> None:
        """Take the next step of whatever is going on."""
        instance = endpoint_configs.instance_of(self.wanted) or ""
        well = well and self.short.get(instance) != "capacity"
        reason = CAPACITY if self.short.get(instance) == "capacity" else "The container did not start."
        if self.status == "Creating":
            self._become("InService") if well else self._fail(reason)
        elif self.status == "Updating":
            if well:
                self._stop_billing()
                self.config, self.billing_since = self.wanted, self.time.now
            self.failure = None if well else reason
            self._become("InService" if well else "RollingBack")
        elif self.status == "RollingBack":
            self._stop_billing()
            self.wanted, self.billing_since = self.config, self.time.now
            self._become("InService")
        elif self.status == "Deleting":
            self._vanish()

    def deleted_by_hand(self) -> None:
        """Have it gone behind everybody's back."""
        if self.status is not None and self.status not in _BUSY:
            self.ended_unseen = self.ended_unseen or self.billing_since is not None
            self._stop_billing()
            self._vanish()

    def billed_seconds(self, since: datetime) -> float:
        """Say how long its machines have billed together since an instant, until now."""
        return sum(self.billed_by_type(since).values())

    def billed_by_type(self, since: datetime) -> dict[str, float]:
        """Say the same by type of machine."""
        open_one = [(self.billing_since, self.time.now, self._fleets())] if self.billing_since else []
        seconds: dict[str, float] = {}
        for start, stop, fleets in [*self.billed, *open_one]:
            for instance, count in fleets.items():
                length = count * max(0.0, (stop - max(start, since)).total_seconds())
                seconds[instance] = seconds.get(instance, 0.0) + length
        return seconds

    def _fleets(self) -> dict[str, int]:
        fleets = {endpoint_configs.instance_of(self.config) or "": self.instances}
        if self.status in {"Updating", "RollingBack"}:
            beside = endpoint_configs.instance_of(self.wanted) or ""
            fleets[beside] = fleets.get(beside, 0) + self.instances
        return fleets

    def _fail(self, reason: str) -> None:
        self.failure, self.ended_unseen = reason, True
        self._stop_billing()
        self._become("Failed")

    def _stop_billing(self) -> None:
        if self.billing_since is not None:
            self.billed.append((self.billing_since, self.time.now, self._fleets()))
            self.billing_since = None

    def _become(self, status: str) -> None:
        self.status, self.changed_at = status, self.time.now

    def _vanish(self) -> None:
        self.status = self.created_at = self.changed_at = self.failure = None

    def _must_exist(self, operation: str) -> None:
        if self.status is None:
            raise _error("ValidationException", 'Could not find endpoint "storyloom".', operation)

    def _must_rest(self, operation: str) -> None:
        if self.status in _BUSY:
            raise _error("ValidationException", "Cannot update in-progress endpoint.", operation)

    def _within_quota(self, config: str, operation: str, beside: int = 0) -> None:
        """Refuse what the account may not have; an update is blue/green and has both fleets for a while."""
        instance = endpoint_configs.instance_of(config) or ""
        used = beside if instance == endpoint_configs.instance_of(self.config) else 0
        limit = 0 if self.short.get(instance) == "quota" else self.quotas.get(instance)
        wanted = max(1, beside)
        if limit is not None and used + wanted > limit:
            raise _error("ResourceLimitExceeded", over_quota(instance, limit, used, wanted), operation)


def over_quota(instance: str, limit: int, used: int, wanted: int) -> str:
    """Say what SageMaker says of an account's quota for an endpoint's instances."""
    return (
        f"The account-level service limit '{instance} for endpoint usage' is {limit} Instances, with current "
        f"utilization of {used} Instances and a request delta of {wanted} Instances. Please use AWS Service "
        "Quotas to request an increase for this quota."
    )


@dataclass
class _NoJobs:
    member: str

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{self.member: []}]


def _error(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
