"""Scale the endpoint's instances with the number of answers in progress, by Application Auto Scaling.

Only the endpoint manager registers the scaling. Whoever changes the endpoint deregisters it first, because
SageMaker does not change the instance type of an endpoint that is scaled; the endpoint manager registers it
again afterwards.
"""

from typing import Any

from botocore.exceptions import ClientError

from contracts import environment
from contracts.resource_names import VARIANT
from shared.aws import clients

POLICY = "answers-per-instance"
_METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
"""Answers in progress by instance; a stream counts until its last token."""
_OUT_SECONDS = 300
"""Time after adding an instance before another is added: it needs minutes to load the model."""
_IN_SECONDS = 300


def follow_load(instances: int) -> None:
    """Scale the endpoint with its load, within the settings. Repeating the call changes nothing.

    Args:
        instances: the current number of instances of an endpoint that is in service.
    """
    most = _settings().hosting_max_instances
    if most == 1:
        stop_scaling()
    else:
        _register(most)
        _track(_settings().answers_per_instance)
    if instances > most:
        _shrink(most)


def stop_scaling() -> None:
    """Stop scaling the endpoint, if it was scaled; this also deletes the policy and its alarms."""
    try:
        clients.application_autoscaling().deregister_scalable_target(**_target())
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise


def _register(most: int) -> None:
    where = _target()
    found = clients.application_autoscaling().describe_scalable_targets(
        ServiceNamespace=where["ServiceNamespace"],
        ResourceIds=[where["ResourceId"]],
        ScalableDimension=where["ScalableDimension"],
    )["ScalableTargets"]
    if [(target["MinCapacity"], target["MaxCapacity"]) for target in found] != [(1, most)]:
        clients.application_autoscaling().register_scalable_target(**where, MinCapacity=1, MaxCapacity=most)


def _track(answers: float) -> None:
    wanted: dict[str, Any] = {
        "TargetValue": answers,
        "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC},
        "ScaleOutCooldown": _OUT_SECONDS,
        "ScaleInCooldown": _IN_SECONDS,
    }
    found = clients.application_autoscaling().describe_scaling_policies(**_target())["ScalingPolicies"]
    if not any(_is_part(wanted, policy["TargetTrackingScalingPolicyConfiguration"]) for policy in found):
        clients.application_autoscaling().put_scaling_policy(
            **_target(),
            PolicyName=POLICY,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=wanted,  # type: ignore[arg-type]
        )


def _is_part(wanted: dict[str, Any], found: Any) -> bool:
    # Application Auto Scaling adds its defaults to what it was given.
    return all(found.get(name) == value for name, value in wanted.items())


def _shrink(most: int) -> None:
    """Release the instances that an earlier setting allowed."""
    clients.sagemaker().update_endpoint_weights_and_capacities(
        EndpointName=_settings().endpoint_name,
        DesiredWeightsAndCapacities=[{"VariantName": VARIANT, "DesiredInstanceCount": most}],
    )


def _target() -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{_settings().endpoint_name}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def _settings() -> environment.Hosting:
    return environment.read(environment.Hosting)
