"""How many machines answer: Application Auto Scaling follows how many answers are being written at once.

The keeper alone sets it up. Whoever changes the endpoint takes it away first, because SageMaker refuses to
change the machine of an endpoint that is scaled; the keeper sets it up again when that is done.
"""

from typing import Any

from botocore.exceptions import ClientError

from contracts import environment
from contracts.resource_names import VARIANT
from shared.aws import clients

POLICY = "answers-per-instance"
_METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
"""Answers that are being written, by machine; one that streams counts until its last token."""
_OUT_SECONDS = 300
"""For this long after another machine was asked for no further one is: it needs minutes to load the model."""
_IN_SECONDS = 300


def follow_load(instances: int) -> None:
    """Have as many machines as the load asks for and the settings allow; doing it again changes nothing.

    Args:
        instances: how many there are now, of an endpoint that is in service.
    """
    most = _settings().hosting_max_instances
    if most == 1:
        stop()
    else:
        _register(most)
        _track(_settings().answers_per_instance)
    if instances > most:
        _shrink(most)


def stop() -> None:
    """Leave the number of machines as it is, if anything changed it; the policy and its alarms go too."""
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
    # Application Auto Scaling answers with defaults beside what it was told.
    return all(found.get(name) == value for name, value in wanted.items())


def _shrink(most: int) -> None:
    """Let go the machines that a setting of before allowed."""
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
