"""Endpoints: CreateEndpoint, UpdateEndpoint and its kin, DescribeEndpoint, DeleteEndpoint, ListEndpoints.

An update is blue/green as on SageMaker: the old servers answer until the new ones are healthy, and go on
answering if they never are. If alarms were named the old ones stay for the time that was named, and answer
again if one of the alarms is in state ALARM.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.errors import AwsError, invalid, not_found
from local.aws.sagemaker import model_resources, simulated_clock
from local.aws.sagemaker.instance_holds import InstanceHold, acquire_instances, acquire_instances_for
from local.aws.sagemaker.job import event_detail, shorten_reason
from local.aws.sagemaker.model_servers import ModelServer, ModelServerFailed, ServerFleet
from local.aws.sagemaker.record_store import STORE, Record, public_members, sagemaker_arn
from local.aws.services.cloudwatch import alarms_in_alarm, missing_alarms
from local.aws.services.eventbridge import put_event
from local.aws.services.iam import Denied, authorize_role

ENDPOINT = "endpoint"
METRIC_NAMESPACE = "AWS/SageMaker"
SCALABLE = "scalable-target"
"""Kind of Application Auto Scaling's targets in the store, by their resource's id."""
WATCH_SECONDS = 0.5
"""How often alarms are evaluated while an update may still be rolled back."""
ANY_ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:*"
"""The resource of DescribeAlarms, whichever alarms are named: refusals on AWS name it."""
logger = logging.getLogger("local_aws.sagemaker")


@dataclass
class _Live:
    """The servers of one endpoint: in service, being started, and kept for a rollback."""

    answering: ServerFleet | None = None
    starting: ServerFleet | None = None
    before: ServerFleet | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    deleted: bool = False


_LIVE: dict[str, _Live] = {}


def create_endpoint(request: Record) -> Record:
    """Answer CreateEndpoint."""
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    config = model_resources.get_endpoint_config(config_name)
    now = simulated_clock.current_time()
    record = {
        "EndpointName": name,
        "EndpointArn": sagemaker_arn(ENDPOINT, name),
        "EndpointConfigName": config_name,
        "ProductionVariants": _variants(config),
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
        "PendingDeploymentSummary": _pending(config_name),
    }
    if not STORE.add(ENDPOINT, name, record):
        raise invalid(f'Cannot create already existing endpoint "{sagemaker_arn(ENDPOINT, name)}".')
    needed = _needed_instances(config, record["ProductionVariants"])
    hold = acquire_instances_for(ENDPOINT, name, *needed) if needed else None
    STORE.tag(sagemaker_arn(ENDPOINT, name), request.get("Tags", []))
    _LIVE[name] = _Live()
    _publish_state(name)
    _in_background(_roll_out, name, config, record["ProductionVariants"], hold, _AlarmWatch())
    return {"EndpointArn": sagemaker_arn(ENDPOINT, name)}


def update_endpoint(request: Record) -> Record:
    """Answer UpdateEndpoint."""
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    config = model_resources.get_endpoint_config(config_name)
    watch = _AlarmWatch.of(request.get("DeploymentConfig") or {})
    if gone := missing_alarms(watch.alarms):
        raise invalid(f"Could not find the alarms {gone}. Name alarms that CloudWatch has in this region.")
    with STORE.locked():
        record = get_endpoint(name)
        _require_settled(record)
        _refuse_change_of_scaled_instance(record, config)
        retained = request.get("RetainAllVariantProperties", False)
        variants = _variants(config, record["ProductionVariants"] if retained else [])
        needed = _needed_instances(config, variants)
        # The old instances stay until the new ones answer, so the quota has to allow both.
        hold = acquire_instances(*needed) if needed else None
        STORE.update(
            ENDPOINT,
            name,
            EndpointStatus="Updating",
            FailureReason=None,
            PendingDeploymentSummary=_pending(config_name),
        )
    _publish_state(name)
    _in_background(_roll_out, name, config, variants, hold, watch)
    return {"EndpointArn": sagemaker_arn(ENDPOINT, name)}


def _pending(config_name: str) -> Record:
    """Return the summary that DescribeEndpoint has while an endpoint gets a new configuration."""
    return {"EndpointConfigName": config_name, "StartTime": simulated_clock.current_time()}


def _needed_instances(config: Record, variants: list[Record]) -> tuple[str, str, int] | None:
    """Return type, usage and number of the instances; None for a serverless variant."""
    instance_type = config["ProductionVariants"][0].get("InstanceType")
    return (instance_type, "endpoint", variants[0]["DesiredInstanceCount"]) if instance_type else None


def _require_settled(record: Record) -> None:
    if record["EndpointStatus"] not in ("InService", "Failed"):
        raise invalid(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def _refuse_change_of_scaled_instance(record: Record, config: Record) -> None:
    before = model_resources.get_endpoint_config(record["EndpointConfigName"])["ProductionVariants"][0]
    after = config["ProductionVariants"][0]
    resource = f"endpoint/{record['EndpointName']}/variant/{before['VariantName']}"
    same = all(before.get(key) == after.get(key) for key in ("VariantName", "InstanceType"))
    if not same and STORE.get(SCALABLE, resource):
        raise invalid(
            f"The variant {before['VariantName']} is a target for auto scaling: deregister it before its "
            "instance type is changed or it is removed."
        )


def update_endpoint_capacities(request: Record) -> Record:
    """Answer UpdateEndpointWeightsAndCapacities: start or end servers until their number is right."""
    name, (wanted, *more) = request["EndpointName"], request["DesiredWeightsAndCapacities"]
    with STORE.locked():
        record = get_endpoint(name)
        _require_settled(record)
        (variant,) = record["ProductionVariants"]
        if more or wanted["VariantName"] != variant["VariantName"]:
            raise invalid(f"The endpoint has one variant, {variant['VariantName']}.")
        count = wanted.get("DesiredInstanceCount", variant["DesiredInstanceCount"])
        if count < 1:
            raise invalid("DesiredInstanceCount must be 1 or more.")
        answering = _LIVE[name].answering
        if answering and answering.hold and count > len(answering.servers):
            answering.hold.resize(count)
        asked = {**variant, "DesiredInstanceCount": count}
        STORE.update(ENDPOINT, name, EndpointStatus="Updating", ProductionVariants=[asked])
    _publish_state(name)
    _in_background(_scale, name, count)
    return {"EndpointArn": sagemaker_arn(ENDPOINT, name)}


def endpoint_load(name: str) -> list[int] | None:
    """Return the number of requests in each server of an endpoint; None if it is not in service."""
    record, live = STORE.get(ENDPOINT, name), _LIVE.get(name)
    if record is None or live is None or live.answering is None or record["EndpointStatus"] != "InService":
        return None
    return [server.in_use for server in live.answering.servers]


def describe_endpoint(request: Record) -> Record:
    """Answer DescribeEndpoint."""
    return public_members(get_endpoint(request["EndpointName"]))


def get_endpoint(name: str) -> Record:
    """Return the endpoint. Raises `AwsError` if it does not exist."""
    record = STORE.get(ENDPOINT, name)
    if record is None:
        raise not_found("endpoint", sagemaker_arn(ENDPOINT, name))
    return record


def delete_endpoint(request: Record) -> Record:
    """Answer DeleteEndpoint: stop its servers. Refused while the endpoint is being created or changed."""
    name = request["EndpointName"]
    with STORE.locked():
        _require_settled(get_endpoint(name))
        STORE.update(ENDPOINT, name, EndpointStatus="Deleting")
    _publish_state(name)
    live = _LIVE.pop(name)
    live.deleted = True
    threading.Thread(target=_delete, args=(name, live), name=f"delete-{name}", daemon=True).start()
    return {}


def summarize_endpoint(record: Record) -> Record:
    """Return one entry of ListEndpoints."""
    keys = "EndpointName EndpointArn CreationTime LastModifiedTime EndpointStatus"
    return {key: record[key] for key in keys.split() if key in record}


def acquire_server(name: str) -> ModelServer:
    """Acquire a server for one request; the caller releases it.

    Raises `AwsError` (the runtime's) if there is none.
    """
    live = _LIVE.get(name)
    if STORE.get(ENDPOINT, name) is None or live is None:
        raise AwsError("ValidationError", f"Endpoint {name} not found.")
    while True:
        answering = live.answering
        server = answering.acquire() if answering else None
        if server is not None:
            return server
        if answering is live.answering:
            status = get_endpoint(name)["EndpointStatus"]
            raise AwsError("ValidationError", f"Endpoint {name} is not InService: its status is {status}.")


def _in_background(work: Callable[..., None], name: str, *arguments: object) -> None:
    threading.Thread(target=work, args=(name, *arguments), name=f"endpoint-{name}", daemon=True).start()


@dataclass(frozen=True)
class _AlarmWatch:
    """The alarms that roll an update back, and for how long they may."""

    alarms: tuple[str, ...] = ()
    seconds: float = 0

    @classmethod
    def of(cls, deployment: Record) -> "_AlarmWatch":
        """Read a DeploymentConfig."""
        alarms = (deployment.get("AutoRollbackConfiguration") or {}).get("Alarms") or []
        policy = deployment.get("BlueGreenUpdatePolicy") or {}
        if policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE") != "ALL_AT_ONCE":
            raise invalid("On this machine an update moves all the traffic at once.")
        names = tuple(alarm["AlarmName"] for alarm in alarms)
        return cls(names, policy.get("TerminationWaitInSeconds", 0))


def _roll_out(
    name: str, config: Record, variants: list[Record], hold: InstanceHold | None, watch: _AlarmWatch
) -> None:
    """Start the configuration's servers and move the traffic to them, or keep the present ones."""
    live = _LIVE.get(name)
    if live is None:
        if hold:
            hold.release()
        return
    with live.lock:
        fresh = live.starting = ServerFleet(name, config, hold)
        try:
            fresh.scale(variants[0]["DesiredInstanceCount"])
            failure = _shift_traffic(name, live, fresh, watch)
        except ModelServerFailed as failed:
            failure = str(failed)
        except Exception as error:  # an endpoint must not stay in Creating for ever
            logger.exception("Endpoint %s", name)
            failure = f"InternalServerError: {error}"
        if failure is None:
            changes = {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": variants}
            _settle(name, live, None, **changes)
        else:
            fresh.retire()
            _settle(name, live, shorten_reason(failure))
        live.starting = None
        if live.deleted and live.answering:
            live.answering.stop()


def _shift_traffic(name: str, live: _Live, fresh: ServerFleet, watch: _AlarmWatch) -> str | None:
    """Move the traffic to the new servers; return the reason if an alarm moved it back."""
    live.before, live.answering = live.answering, fresh
    failure = _failed_alarms(watch, live, fresh) if live.before else None
    if failure is not None:
        STORE.update(ENDPOINT, name, EndpointStatus="RollingBack")
        _publish_state(name)
        live.answering = live.before
    elif live.before:
        live.before.retire()
    live.before = None
    return failure


def _failed_alarms(watch: _AlarmWatch, live: _Live, fresh: ServerFleet) -> str | None:
    """Watch the alarms with the model's role for the time of the configuration."""
    deadline = simulated_clock.monotonic() + watch.seconds
    role = fresh.servers[0].model["ExecutionRoleArn"]
    try:
        if watch.alarms:
            authorize_role(role, "SageMaker", "cloudwatch:DescribeAlarms", ANY_ALARM)
    except Denied as denied:
        return denied.message
    while not live.deleted:
        if failed := alarms_in_alarm(watch.alarms):
            return f"The deployment was rolled back because an alarm is in state ALARM: {', '.join(failed)}."
        if simulated_clock.monotonic() >= deadline:
            break
        time.sleep(WATCH_SECONDS)
    return None


def _scale(name: str, count: int) -> None:
    live = _LIVE.get(name)
    if live is None:
        return
    with live.lock:
        answering, failure = live.answering, None
        if answering is None:
            return
        try:
            answering.scale(count)
        except ModelServerFailed as failed:
            failure = shorten_reason(str(failed))
            if answering.hold:
                answering.hold.resize(len(answering.servers))
        record = STORE.get(ENDPOINT, name)
        if record:
            variant = {**record["ProductionVariants"][0], "CurrentInstanceCount": len(answering.servers)}
            _settle(name, live, failure, ProductionVariants=[variant])


def _settle(name: str, live: _Live, failure: str | None, **changes: object) -> None:
    if live.deleted:
        return
    status = "InService" if failure is None or live.answering else "Failed"
    ended = {"FailureReason": failure, "PendingDeploymentSummary": None}
    STORE.update(ENDPOINT, name, EndpointStatus=status, **ended, **changes)
    _publish_state(name)


def _delete(name: str, live: _Live) -> None:
    for instances in (live.starting, live.answering, live.before):
        if instances:
            instances.stop()
    STORE.remove(ENDPOINT, name)


def _variants(config: Record, retained: Sequence[Record] = ()) -> list[Record]:
    """Return the variants of a configuration; those that are `retained` keep their number of instances."""
    counts = {variant["VariantName"]: variant["DesiredInstanceCount"] for variant in retained}
    variants = []
    for variant in config["ProductionVariants"]:
        weight = variant.get("InitialVariantWeight", 1.0)
        count = counts.get(variant["VariantName"], variant.get("InitialInstanceCount", 1))
        variants.append(
            {
                "VariantName": variant["VariantName"],
                "CurrentWeight": weight,
                "DesiredWeight": weight,
                "CurrentInstanceCount": count,
                "DesiredInstanceCount": count,
            }
        )
    return variants


def _publish_state(name: str) -> None:
    record = STORE.get(ENDPOINT, name)
    if record:
        put_event(
            "aws.sagemaker",
            "SageMaker Endpoint State Change",
            event_detail(record),
            [sagemaker_arn(ENDPOINT, name)],
        )
