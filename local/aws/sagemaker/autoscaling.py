"""Application Auto Scaling for the instances of endpoints: targets, target tracking, and the scaling itself.

A policy follows how many requests each server answers at once. As on AWS more are started when three periods
in a row were above the target, and some are ended when all of a longer time were a tenth below it.
"""

import collections
import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.aws.cloud_environment import ACCOUNT, REGION
from local.aws.errors import AwsError, invalid
from local.aws.sagemaker import endpoints
from local.aws.sagemaker.record_store import STORE, Record, sagemaker_arn
from local.aws.service_handlers import Response
from local.aws.service_models import operation, validate
from local.aws.services.cloudwatch import record_metrics
from local.aws.services.iam import Denied, authorize_request

SERVICE = "application-autoscaling"
METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
PERIOD_VARIABLE = "LOCAL_AWS_SCALING_PERIOD_SECONDS"
"""Seconds between two samples of the load: 10 on AWS, fewer in tests."""
HIGH_PERIODS, LOW_PERIODS = 3, 90
LOW_SHARE = 0.9
_COOLDOWN_SECONDS = 300
_PARTS = 4  # endpoint/<name>/variant/<variant>
_LINKED = "sagemaker.application-autoscaling.amazonaws.com"
_LINKED_ROLE = f"role/aws-service-role/{_LINKED}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"

logger = logging.getLogger("local_aws.sagemaker")
Authorize = Callable[..., None]


@dataclass
class _Tracking:
    """The recent load of one target."""

    loads: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=LOW_PERIODS))
    changed_at: float = -math.inf


def _register(request: Record, authorize: Authorize) -> Record:
    name, variant = _resource(request)
    _caller_may_scale(name, authorize)
    authorize(
        "iam:CreateServiceLinkedRole",
        f"arn:aws:iam::{ACCOUNT}:{_LINKED_ROLE}",
        {"iam:AWSServiceName": _LINKED},
    )
    known = STORE.get(endpoints.SCALABLE, request["ResourceId"])
    if known is None and not {"MinCapacity", "MaxCapacity"} <= request.keys():
        raise invalid("MinCapacity and MaxCapacity are required for a new scalable target.")
    limits: Record = {key: request[key] for key in ("MinCapacity", "MaxCapacity") if key in request}
    target = {**(known or {}), **limits}
    if not 1 <= target["MinCapacity"] <= target["MaxCapacity"]:
        raise invalid("MinCapacity must be 1 or more, and MaxCapacity not less than it.")
    if variant not in [one["VariantName"] for one in endpoints.get_endpoint(name)["ProductionVariants"]]:
        raise invalid(f"The endpoint {name} has no variant {variant}.")
    if known is not None:
        STORE.update(endpoints.SCALABLE, request["ResourceId"], **limits)
        return {"ScalableTargetARN": known["ScalableTargetARN"]}
    made: Record = {
        **_key(request),
        **limits,
        "RoleARN": f"arn:aws:iam::{ACCOUNT}:{_LINKED_ROLE}",
        "CreationTime": time.time(),
        "ScalableTargetARN": f"{_targets_arn()}{time.time_ns():x}",
    }
    STORE.add(endpoints.SCALABLE, request["ResourceId"], made)
    return {"ScalableTargetARN": made["ScalableTargetARN"]}


def _deregister(request: Record, authorize: Authorize) -> Record:
    _found(request)
    STORE.remove(endpoints.SCALABLE, request["ResourceId"])
    return {}


def _describe_targets(request: Record, authorize: Authorize) -> Record:
    wanted = request.get("ResourceIds")
    keys = "ServiceNamespace ResourceId ScalableDimension MinCapacity MaxCapacity RoleARN CreationTime"
    found = [
        {key: target[key] for key in [*keys.split(), "ScalableTargetARN"]}
        for target in STORE.all(endpoints.SCALABLE)
        if wanted is None or target["ResourceId"] in wanted
    ]
    return {"ScalableTargets": found}


def _put_policy(request: Record, authorize: Authorize) -> Record:
    name, _ = _resource(request)
    target = _found(request)
    _caller_may_scale(name, authorize)
    tracked = request.get("TargetTrackingScalingPolicyConfiguration")
    if request.get("PolicyType") != "TargetTrackingScaling" or tracked is None:
        raise invalid("On this machine a scaling policy is of type TargetTrackingScaling.")
    if tracked.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType") != METRIC:
        raise invalid(f"On this machine a scaling policy tracks {METRIC}.")
    policy = {
        **_key(request),
        "PolicyName": request["PolicyName"],
        "PolicyType": "TargetTrackingScaling",
        "PolicyARN": f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:{request['PolicyName']}",
        "TargetTrackingScalingPolicyConfiguration": tracked,
        "Alarms": [],
        "CreationTime": time.time(),
    }
    STORE.update(endpoints.SCALABLE, target["ResourceId"], _policy=policy)
    return {"PolicyARN": policy["PolicyARN"], "Alarms": []}


def _describe_policies(request: Record, authorize: Authorize) -> Record:
    targets = [one for one in STORE.all(endpoints.SCALABLE) if "_policy" in one]
    resource = request.get("ResourceId")
    return {
        "ScalingPolicies": [one["_policy"] for one in targets if resource in (None, one["ResourceId"])],
    }


def _delete_policy(request: Record, authorize: Authorize) -> Record:
    policy = _found(request).get("_policy")
    if policy is None or policy["PolicyName"] != request["PolicyName"]:
        raise _not_found(f"No scaling policy found for {request['ResourceId']}.")
    STORE.update(endpoints.SCALABLE, request["ResourceId"], _policy=None)
    return {}


_OPERATIONS: dict[str, Callable[[Record, Authorize], Record]] = {
    "RegisterScalableTarget": _register,
    "DeregisterScalableTarget": _deregister,
    "DescribeScalableTargets": _describe_targets,
    "PutScalingPolicy": _put_policy,
    "DescribeScalingPolicies": _describe_policies,
    "DeleteScalingPolicy": _delete_policy,
}


async def handle_autoscaling(headers: dict[str, str], query: dict[str, list[str]], body: bytes) -> Response:
    """Answer an HTTP request (JSON 1.1, ``X-Amz-Target: AnyScaleFrontendService.<Operation>``)."""
    name = headers.get("x-amz-target", "").partition(".")[2]

    def authorize(action: str, resource: str, context: dict[str, Any]) -> None:
        authorize_request(headers, query, action, resource, context)

    try:
        return _json(200, _perform(name, json.loads(body or b"{}"), authorize))
    except AwsError as error:
        return _json(error.status, {"__type": error.code, "Message": error.message}, error.code)
    except Denied as denied:
        return _json(
            400, {"__type": "AccessDeniedException", "Message": denied.message}, "AccessDeniedException"
        )


def _perform(name: str, request: Record, authorize: Authorize) -> Record:
    operation(name, SERVICE)
    if name not in _OPERATIONS:
        raise AwsError("UnknownOperationException", f"The local Application Auto Scaling has no {name} yet.")
    validate(name, request, SERVICE)
    if request["ServiceNamespace"] != "sagemaker":
        raise invalid("On this machine only SageMaker's endpoints are scaled.")
    # Operations that list have no target; AWS numbers those of the others.
    target = "*" if name.startswith("Describe") else f"{_targets_arn()}1"
    keys = ("ServiceNamespace", "service-namespace"), ("ScalableDimension", "scalable-dimension")
    context = {f"{SERVICE}:{key}": request[member] for member, key in keys if member in request}
    authorize(f"{SERVICE}:{name}", target, context)
    return _OPERATIONS[name](request, authorize)


def _caller_may_scale(name: str, authorize: Authorize) -> None:
    """Ask with the caller's permissions, as Application Auto Scaling does before it acts with its own."""
    for action in ("DescribeEndpoint", "UpdateEndpointWeightsAndCapacities"):
        authorize(f"sagemaker:{action}", sagemaker_arn(endpoints.ENDPOINT, name), {})
    for action in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms"):
        authorize(f"cloudwatch:{action}", "*", {"aws:ViaAWSService": "true"})


def _resource(request: Record) -> tuple[str, str]:
    """Return endpoint and variant of ``endpoint/<name>/variant/<variant>``."""
    parts = request["ResourceId"].split("/")
    if len(parts) != _PARTS or (parts[0], parts[2]) != ("endpoint", "variant"):
        raise invalid(f"ResourceId {request['ResourceId']} is not endpoint/NAME/variant/NAME.")
    return parts[1], parts[3]


def _found(request: Record) -> Record:
    target = STORE.get(endpoints.SCALABLE, request["ResourceId"])
    if target is None:
        raise _not_found(
            f"No scalable target found for service namespace: sagemaker, {request['ResourceId']}"
        )
    return target


def _key(request: Record) -> Record:
    return {key: request[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}


def _not_found(message: str) -> AwsError:
    return AwsError("ObjectNotFoundException", message)


def _targets_arn() -> str:
    return f"arn:aws:{SERVICE}:{REGION}:{ACCOUNT}:scalable-target/"


def _json(status: int, content: dict[str, Any], error: str = "") -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1", **({"x-amzn-errortype": error} if error else {})}
    return status, headers, json.dumps(content).encode()


def follow_loads() -> None:
    """Scale every target by its policy, in the background, as long as this process lives."""
    threading.Thread(target=_follow, name="application-autoscaling", daemon=True).start()


def _follow() -> None:
    tracked: dict[str, _Tracking] = {}
    while True:
        time.sleep(float(os.environ.get(PERIOD_VARIABLE, "10")))
        targets = [one for one in STORE.all(endpoints.SCALABLE) if one.get("_policy")]
        names = {target["ScalableTargetARN"] for target in targets}
        tracked = {name: tracked.get(name, _Tracking()) for name in names}
        for target in targets:
            try:
                _scale_if_needed(target, tracked[target["ScalableTargetARN"]])
            except Exception:  # one target that cannot be scaled must not end the others' scaling
                logger.exception("Scaling %s", target["ResourceId"])


def _scale_if_needed(target: Record, tracking: _Tracking) -> None:
    """Take one sample of a target's load, and scale it if its policy demands it."""
    name, variant = _resource(target)
    load = endpoints.endpoint_load(name)
    if not load:
        tracking.loads.clear()
        return
    average = sum(load) / len(load)
    tracking.loads.append(average)
    dimensions = {"EndpointName": name, "VariantName": variant}
    record_metrics(endpoints.METRIC_NAMESPACE, {"ConcurrentRequestsPerModel": average}, dimensions)
    wanted = _wanted(target, tracking, len(load))
    if wanted == len(load):
        return
    logger.info("Scaling %s from %d to %d", name, len(load), wanted)
    asked = [{"VariantName": variant, "DesiredInstanceCount": wanted}]
    with contextlib.suppress(AwsError):  # another change began: the next sample decides anew
        endpoints.update_endpoint_capacities({"EndpointName": name, "DesiredWeightsAndCapacities": asked})
        tracking.changed_at = time.monotonic()
        tracking.loads.clear()


def _wanted(target: Record, tracking: _Tracking, count: int) -> int:
    """Return how many instances there should be."""
    policy = target["_policy"]["TargetTrackingScalingPolicyConfiguration"]
    aim, loads = policy["TargetValue"], list(tracking.loads)
    since = time.monotonic() - tracking.changed_at
    wanted, recent = count, loads[-HIGH_PERIODS:]
    high = len(recent) == HIGH_PERIODS and min(recent) > aim
    low = len(loads) == LOW_PERIODS and max(loads) < LOW_SHARE * aim and not policy.get("DisableScaleIn")
    if high and since >= policy.get("ScaleOutCooldown", _COOLDOWN_SECONDS):
        wanted = math.ceil(count * sum(recent) / len(recent) / aim)
    if low and since >= policy.get("ScaleInCooldown", _COOLDOWN_SECONDS):
        wanted = min(count, math.ceil(count * max(loads) / aim))
    return int(min(target["MaxCapacity"], max(target["MinCapacity"], wanted)))
