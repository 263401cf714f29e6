"""More instances under load, and a deployment that an alarm rolls back."""

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from contracts import environment
from endpoint_manager.handler import handler
from shared.aws import clients
from shared.hosting import endpoint, endpoint_configs, hosting_state
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.sagemaker_stand_in import StandIn

TICK = {"action": "tick"}
RESOURCE = "endpoint/storyloom/variant/main"


@pytest.fixture
def scaled(resources: DeployedResources, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that may have up to three machines."""
    monkeypatch.setenv("STORYLOOM_HOSTING_MAX_INSTANCES", "3")


def _awake(sagemaker: StandIn, context: LambdaContext) -> None:
    handler({"action": "wake"}, context)
    sagemaker.in_service()
    assert handler(TICK, context)["status"] == "awake"


def test_the_endpoint_is_scaled_by_the_answers_in_progress(
    live_v1: str, scaled: None, sagemaker: StandIn, context: LambdaContext
) -> None:
    handler({"action": "wake"}, context)
    handler(TICK, context)
    assert sagemaker.scalable is None, "not before it answers"
    sagemaker.in_service()
    handler(TICK, context)
    assert sagemaker.scalable is not None
    assert (sagemaker.scalable["ResourceId"], sagemaker.scalable["MaxCapacity"]) == (RESOURCE, 3)
    assert sagemaker.policy is not None
    tracked = sagemaker.policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["TargetValue"] == 8
    assert tracked["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    }
    before = len(sagemaker.calls)
    handler(TICK, context)
    changes = {"RegisterScalableTarget", "PutScalingPolicy", "UpdateEndpointWeightsAndCapacities"}
    assert changes.isdisjoint(sagemaker.calls[before:]), "a second tick changes nothing"


def test_a_single_instance_is_not_scaled(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    assert "RegisterScalableTarget" not in sagemaker.calls
    assert sagemaker.scalable is None


def test_a_sleeping_endpoint_is_not_scaled(
    live_v1: str, scaled: None, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    handler({"action": "sleep"}, context)
    assert (sagemaker.endpoint, sagemaker.scalable, sagemaker.policy) == (None, None, None)


def test_what_a_deletion_by_hand_left_behind_is_taken_away(
    live_v1: str, scaled: None, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    sagemaker.endpoint = None
    handler(TICK, context)
    assert (sagemaker.scalable, sagemaker.policy) == (None, None)


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.usefixtures("live_v1", "scaled")
def test_a_lower_limit_releases_instances(
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["ProductionVariants"][0]["CurrentInstanceCount"] = 3
    monkeypatch.setenv("STORYLOOM_HOSTING_MAX_INSTANCES", str(most))
    handler(TICK, context)
    assert sagemaker.endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == most
    assert (sagemaker.scalable or {}).get("MaxCapacity") == (2 if most == 2 else None)


def test_an_endpoint_on_another_instance_is_scaled_again(
    live_v1: str, scaled: None, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    other = endpoint_configs.ensure_config(live_v1, "ml.g5.xlarge")
    assert endpoint.converge(other).state == "waiting"
    assert sagemaker.scalable is None, "SageMaker refuses the change before"
    assert sagemaker.updates[-1]["RetainAllVariantProperties"] is True
    sagemaker.in_service()
    handler(TICK, context)
    assert sagemaker.scalable is not None


def test_scaling_that_cannot_be_stopped_does_not_keep_an_instance(
    live_v1: str,
    scaled: None,
    sagemaker: StandIn,
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _awake(sagemaker, context)
    refused = ClientError({"Error": {"Code": "InternalServiceException"}}, "DeregisterScalableTarget")

    class Broken:
        def deregister_scalable_target(self, **_: str) -> None:
            raise refused

    with monkeypatch.context() as broken:
        broken.setattr(clients, "application_autoscaling", Broken)
        with pytest.raises(ClientError):
            handler({"action": "sleep"}, context)
    assert sagemaker.endpoint is None
    handler(TICK, context)
    assert sagemaker.scalable is None, "the next tick ends it"


def _candidate(live: str) -> str:
    return endpoint_configs.ensure_config(live.replace("v1", "v2"), "ml.g6.xlarge")


def test_a_new_version_is_watched_while_the_one_before_it_stays(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    endpoint.converge(_candidate(live_v1), watched=True)
    deployment = sagemaker.updates[-1]["DeploymentConfig"]
    policy = deployment["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert policy["TerminationWaitInSeconds"] == 300
    names = [alarm["AlarmName"] for alarm in deployment["AutoRollbackConfiguration"]["Alarms"]]
    assert names == environment.read(environment.Hosting).rollback_alarms
    assert len(names) == 2


def test_a_restored_version_is_not_rolled_back_by_alarms_for_the_replaced_one(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    endpoint.converge(_candidate(live_v1))
    assert "DeploymentConfig" not in sagemaker.updates[-1]


def test_an_alarm_that_is_already_active_is_about_the_version_to_be_replaced(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    """Whoever goes back because the live version fails would be sent back to it."""
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    live = sagemaker.endpoint["EndpointConfigName"]
    errors, _ = environment.read(environment.Hosting).rollback_alarms
    _make_alarm(errors)
    for state in ("OK", "ALARM"):
        clients.cloudwatch().set_alarm_state(AlarmName=errors, StateValue=state, StateReason="A test.")
    endpoint.converge(_candidate(live_v1), watched=True)
    assert "DeploymentConfig" not in sagemaker.updates[-1]
    clients.cloudwatch().set_alarm_state(AlarmName=errors, StateValue="OK", StateReason="It is quiet again.")
    sagemaker.in_service()
    endpoint.converge(live, watched=True)
    assert "DeploymentConfig" in sagemaker.updates[-1]


@pytest.mark.parametrize("rings", [True, False])
def test_a_rollback_names_the_alarm_that_fired(
    resources: DeployedResources, live_v1: str, sagemaker: StandIn, context: LambdaContext, rings: bool
) -> None:
    _awake(sagemaker, context)
    candidate = _candidate(live_v1)
    endpoint.converge(candidate, watched=True)
    errors, latency = environment.read(environment.Hosting).rollback_alarms
    for alarm in (errors, latency):
        _make_alarm(alarm)
    if rings:
        for value in ("ALARM", "OK"):  # it is quiet again before anybody looks
            clients.cloudwatch().set_alarm_state(AlarmName=errors, StateValue=value, StateReason="A test.")
    assert sagemaker.endpoint is not None
    sagemaker.endpoint.pop("wanted")
    sagemaker.in_service()
    progress = endpoint.converge(candidate, watched=True)
    assert progress.state == "failed"
    assert "put the configuration before it back" in progress.message
    assert (errors in progress.message) is rings
    assert latency not in progress.message
    assert hosting_state.state().requested == candidate


def _make_alarm(name: str) -> None:
    clients.cloudwatch().put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName=f"Of-{name}",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=3,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )


@pytest.mark.aws_fact
def test_instances_that_scaling_is_starting_are_billed_before_they_answer(
    live_v1: str, scaled: None, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["ProductionVariants"][0] |= {"CurrentInstanceCount": 1, "DesiredInstanceCount": 3}
    for status, billed in (("Updating", 3), ("InService", 1)):
        sagemaker.endpoint["EndpointStatus"] = status
        found = endpoint.describe() or pytest.fail("no endpoint")
        assert found.billed_instances is not None
        assert sum(found.billed_instances.fleets.values()) == billed


def test_the_time_at_which_a_rollback_began_is_not_when_its_instances_started(
    live_v1: str, sagemaker: StandIn, context: LambdaContext
) -> None:
    _awake(sagemaker, context)
    assert sagemaker.endpoint is not None
    sagemaker.endpoint["EndpointStatus"] = "RollingBack"
    found = endpoint.describe() or pytest.fail("no endpoint")
    assert found.billed_instances is not None
    assert sum(found.billed_instances.fleets.values()) == 2
    assert found.billed_instances.changed_at is None
