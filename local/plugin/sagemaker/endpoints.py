"""Endpoints: CreateEndpoint, UpdateEndpoint, DescribeEndpoint, DeleteEndpoint, ListEndpoints.

An update is blue/green as on SageMaker: the old server answers until the new one is healthy, and
goes on answering when the new one never is.
"""

import logging
import threading
import time
from dataclasses import dataclass, field

from local.plugin.ministack_adapter import put_event
from local.plugin.sagemaker import models
from local.plugin.sagemaker.errors import ApiError, invalid, not_found
from local.plugin.sagemaker.fleet import Fleet, FleetFailed
from local.plugin.sagemaker.job import event_detail, shorten
from local.plugin.sagemaker.store import STORE, Record, arn, shown

ENDPOINT = "endpoint"
logger = logging.getLogger("storyloom.sagemaker")


@dataclass
class _Live:
    """The servers of one endpoint: the one that answers, and the one that is being started."""

    answering: Fleet | None = None
    starting: Fleet | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    deleted: bool = False


_LIVE: dict[str, _Live] = {}


def create(request: Record) -> Record:
    """CreateEndpoint."""
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    config = models.get_config(config_name)
    now = time.time()
    record = {
        "EndpointName": name,
        "EndpointArn": arn(ENDPOINT, name),
        "EndpointConfigName": config_name,
        "ProductionVariants": _variants(config),
        "EndpointStatus": "Creating",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    if not STORE.add(ENDPOINT, name, record):
        raise invalid(f'Cannot create already existing endpoint "{arn(ENDPOINT, name)}".')
    STORE.tag(arn(ENDPOINT, name), request.get("Tags", []))
    _LIVE[name] = _Live()
    _announce(name)
    _in_background(name, config)
    return {"EndpointArn": arn(ENDPOINT, name)}


def update(request: Record) -> Record:
    """UpdateEndpoint."""
    name, config_name = request["EndpointName"], request["EndpointConfigName"]
    config = models.get_config(config_name)
    with STORE.locked():
        record = get(name)
        if record["EndpointStatus"] not in ("InService", "Failed"):
            raise invalid(f'Cannot update in-progress endpoint "{arn(ENDPOINT, name)}".')
        STORE.update(ENDPOINT, name, EndpointStatus="Updating", FailureReason=None)
    _announce(name)
    _in_background(name, config)
    return {"EndpointArn": arn(ENDPOINT, name)}


def describe(request: Record) -> Record:
    """DescribeEndpoint."""
    return shown(get(request["EndpointName"]))


def get(name: str) -> Record:
    """The endpoint; raises `ApiError` when there is none."""
    record = STORE.get(ENDPOINT, name)
    if record is None:
        raise not_found("endpoint", arn(ENDPOINT, name))
    return record


def delete(request: Record) -> Record:
    """DeleteEndpoint: its servers are stopped, also one that is still being started."""
    name = request["EndpointName"]
    get(name)
    STORE.update(ENDPOINT, name, EndpointStatus="Deleting")
    _announce(name)
    live = _LIVE.pop(name)
    live.deleted = True
    threading.Thread(target=_delete, args=(name, live), name=f"delete-{name}", daemon=True).start()
    return {}


def summary(record: Record) -> Record:
    """One entry of ListEndpoints."""
    keys = "EndpointName EndpointArn CreationTime LastModifiedTime EndpointStatus"
    return {key: record[key] for key in keys.split() if key in record}


def take(name: str) -> Fleet:
    """The servers that answer now, kept for one request: the caller gives them back.

    Raises `ApiError` (the runtime's) when there are none.
    """
    live = _LIVE.get(name)
    if STORE.get(ENDPOINT, name) is None or live is None:
        raise ApiError("ValidationError", f"Endpoint {name} not found.")
    while True:
        fleet = live.answering
        if fleet is None:
            status = get(name)["EndpointStatus"]
            raise ApiError("ValidationError", f"Endpoint {name} is not InService: its status is {status}.")
        fleet.take()
        if live.answering is fleet:
            return fleet
        fleet.give_back()  # replaced in between: it may be stopping already


def _in_background(name: str, config: Record) -> None:
    threading.Thread(target=_roll_out, args=(name, config), name=f"endpoint-{name}", daemon=True).start()


def _roll_out(name: str, config: Record) -> None:
    """Start the configuration's servers and move the traffic to them, or keep what answers now."""
    live = _LIVE.get(name)
    if live is None:
        return
    with live.lock:
        fleet = None
        try:
            fleet = live.starting = Fleet.of(name, config)
            fleet.start()
        except FleetFailed as failed:
            _settle(name, live, config, shorten(str(failed)))
        except Exception as error:  # an endpoint must not stay in Creating for ever
            logger.exception("Endpoint %s", name)
            _settle(name, live, config, shorten(f"InternalServerError: {error}"))
        else:
            before, live.answering = live.answering, fleet
            _settle(name, live, config, None)
            if before:
                threading.Thread(target=before.retire, name=f"retire-{name}", daemon=True).start()
            fleet = None
        finally:
            live.starting = None
            if fleet:
                fleet.stop()
            if live.deleted and live.answering:
                live.answering.stop()


def _settle(name: str, live: _Live, config: Record, failure: str | None) -> None:
    if live.deleted:
        return
    if failure is None:
        STORE.update(
            ENDPOINT,
            name,
            EndpointStatus="InService",
            EndpointConfigName=config["EndpointConfigName"],
            ProductionVariants=_variants(config),
            FailureReason=None,
        )
    else:
        rolled_back = "InService" if live.answering else "Failed"
        STORE.update(ENDPOINT, name, EndpointStatus=rolled_back, FailureReason=failure)
    _announce(name)


def _delete(name: str, live: _Live) -> None:
    for fleet in (live.starting, live.answering):
        if fleet:
            fleet.stop()
    STORE.remove(ENDPOINT, name)


def _variants(config: Record) -> list[Record]:
    return [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant.get("InitialVariantWeight", 1.0),
            "DesiredWeight": variant.get("InitialVariantWeight", 1.0),
            "CurrentInstanceCount": variant.get("InitialInstanceCount", 1),
            "DesiredInstanceCount": variant.get("InitialInstanceCount", 1),
        }
        for variant in config["ProductionVariants"]
    ]


def _announce(name: str) -> None:
    record = STORE.get(ENDPOINT, name)
    if record:
        put_event(
            "aws.sagemaker", "SageMaker Endpoint State Change", event_detail(record), [arn(ENDPOINT, name)]
        )
