"""More servers while many ask, fewer afterwards; and a deployment that an alarm takes back."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import JOB_PERMISSIONS, Aws, until
from tests.local.sagemaker.test_endpoints import _config, _servers, _settled, _until_gone

pytestmark = pytest.mark.cloud

LONG = "on and on goes the story of the tide that came for supper and stayed for the winter and the spring"


@pytest.fixture(scope="module")
def role(aws: Aws) -> str:
    """Return a hosting role that SageMaker may look at alarms with."""
    return aws.role("sagemaker.amazonaws.com", {**JOB_PERMISSIONS, "cloudwatch:DescribeAlarms": "*"})


@pytest.fixture
def endpoint(aws: Aws, role: str) -> Iterator[str]:
    """Return an endpoint of one server."""
    name = f"scaled-{uuid4().hex[:8]}"
    aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=_config(aws, role, LONG))
    assert _settled(aws, name)["EndpointStatus"] == "InService"
    yield name
    _settled(aws, name)
    with contextlib.suppress(ClientError):
        aws.client("application-autoscaling").deregister_scalable_target(**_target(name))
    aws.client("sagemaker").delete_endpoint(EndpointName=name)
    _until_gone(aws, name)


def _target(name: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/only",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def _count(aws: Aws, name: str) -> dict[str, Any]:
    described = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    (variant,) = described["ProductionVariants"]
    return {**variant, "status": described["EndpointStatus"], "servers": len(_servers(aws, name))}


@contextlib.contextmanager
def _asking(aws: Aws, name: str, at_once: int) -> Iterator[None]:
    """Return so many callers, each with one streamed answer after the other."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answer = aws.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
                EndpointName=name, Body=json.dumps({"stream": True}), ContentType="application/json"
            )["Body"]
            for _ in answer:
                if over.is_set():
                    break
            answer.close()

    aws.client("sagemaker-runtime")  # before the threads: it is made once
    callers = [threading.Thread(target=ask) for _ in range(at_once)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        over.set()
        for caller in callers:
            caller.join()


def test_servers_come_with_the_load_share_it_and_go(aws: Aws, endpoint: str) -> None:
    scaling = aws.client("application-autoscaling")
    scaling.register_scalable_target(**_target(endpoint), MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **_target(endpoint),
        PolicyName="by-load",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=_tracking(answers=1.5),
    )
    with _asking(aws, endpoint, at_once=6):
        grown = until(lambda: _count(aws, endpoint), lambda seen: seen["CurrentInstanceCount"] == 2)
        assert grown["servers"] == 2, "never above MaxCapacity, whatever the load"
        log = f"/aws/sagemaker/Endpoints/{endpoint}"
        until(lambda: {"streams": len(_busy(aws, log))}, lambda seen: seen["streams"] == 2)
    one = {"CurrentInstanceCount": 1, "servers": 1}
    until(lambda: _count(aws, endpoint), lambda seen: one.items() <= seen.items(), seconds=120)
    scaling.deregister_scalable_target(**_target(endpoint))
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**_target(endpoint))


def _busy(aws: Aws, log: str) -> list[str]:
    """Log streams, one a server, of those that finished answers."""
    streams = aws.client("logs").describe_log_streams(logGroupName=log)["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    return [name for name in names if "stream finished" in aws.log(log, name)]


def test_another_instance_type_is_refused_while_the_endpoint_is_scaled(
    aws: Aws, endpoint: str, role: str
) -> None:
    scaling, sagemaker = aws.client("application-autoscaling"), aws.client("sagemaker")
    scaling.register_scalable_target(**_target(endpoint), MinCapacity=1, MaxCapacity=2)
    other = _config(aws, role, "another machine", instance="ml.g5.xlarge")
    with pytest.raises(ClientError, match="deregister"):
        sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=other)
    scaling.deregister_scalable_target(**_target(endpoint))
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=endpoint,
        DesiredWeightsAndCapacities=[{"VariantName": "only", "DesiredInstanceCount": 2}],
    )
    _settled(aws, endpoint)
    sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=other, RetainAllVariantProperties=True
    )
    assert _settled(aws, endpoint)["EndpointConfigName"] == other
    assert (
        until(lambda: _count(aws, endpoint), lambda seen: seen["servers"] == 2)["CurrentInstanceCount"] == 2
    )


def test_who_may_not_scale_the_endpoint_may_not_have_it_scaled(aws: Aws, endpoint: str) -> None:
    somebody = aws.user("application-autoscaling", {"application-autoscaling:RegisterScalableTarget": "*"})
    with pytest.raises(ClientError, match="sagemaker:DescribeEndpoint"):
        somebody.register_scalable_target(**_target(endpoint), MinCapacity=1, MaxCapacity=2)


def test_the_endpoint_managers_permissions_are_enough_and_need_their_conditions(
    aws: Aws, endpoint: str
) -> None:
    """The statements of `stacks/grants/hosting.py`; another kind of target, or an alarm alone, is refused."""
    account, described = "arn:aws:{}:us-east-1:123456789012:{}", f"endpoint/{endpoint}"
    of_sagemaker = {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
    linked = "sagemaker.application-autoscaling.amazonaws.com"
    role = f"aws-service-role/{linked}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    changing = [f"application-autoscaling:{name}" for name in ("RegisterScalableTarget", "PutScalingPolicy")]
    statements: list[dict[str, Any]] = [
        {
            "Action": [*changing, "application-autoscaling:DeregisterScalableTarget"],
            "Resource": account.format("application-autoscaling", "scalable-target/*"),
            "Condition": {"StringEquals": of_sagemaker},
        },
        {
            "Action": ["sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"],
            "Resource": account.format("sagemaker", described),
        },
        {
            "Action": ["cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", "cloudwatch:DeleteAlarms"],
            "Resource": "*",
            "Condition": {"Bool": {"aws:ViaAWSService": "true"}},
        },
        {
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": f"arn:aws:iam::123456789012:role/{role}",
            "Condition": {"StringEquals": {"iam:AWSServiceName": linked}},
        },
    ]
    endpoint_manager = aws.user_with("application-autoscaling", statements)
    endpoint_manager.register_scalable_target(**_target(endpoint), MinCapacity=1, MaxCapacity=2)
    endpoint_manager.put_scaling_policy(
        **_target(endpoint),
        PolicyName="by-load",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=_tracking(answers=8),
    )
    endpoint_manager.deregister_scalable_target(**_target(endpoint))
    other = {**_target(endpoint), "ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}
    with pytest.raises(ClientError, match="AccessDenied"):
        endpoint_manager.register_scalable_target(**other, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="not authorized"):
        aws.user_with("cloudwatch", statements).delete_alarms(AlarmNames=["somebody's"])


def _tracking(answers: float) -> dict[str, Any]:
    return {
        "TargetValue": answers,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        },
        "ScaleOutCooldown": 0,
        "ScaleInCooldown": 0,
    }


def test_an_alarm_rolls_a_deployment_back(aws: Aws, endpoint: str, role: str) -> None:
    before = aws.client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    alarm, candidate = _alarm_on_errors(aws, endpoint), _config(aws, role, "another story")
    watched = _watched(alarm, seconds=600)  # the test does not wait for it: the alarm ends it
    aws.client("sagemaker").update_endpoint(
        EndpointName=endpoint, EndpointConfigName=candidate, DeploymentConfig=watched
    )
    until(lambda: _says(aws, endpoint), lambda seen: seen["says"] == "another story")
    assert _count(aws, endpoint)["status"] == "Updating"
    assert len(_servers(aws, endpoint)) == 2, "the one before stays"
    for _ in range(3):
        _break(aws, endpoint)
    found = _settled(aws, endpoint)
    assert found["EndpointConfigName"] == before
    assert alarm in found["FailureReason"]
    assert _says(aws, endpoint)["says"] == LONG
    until(lambda: _count(aws, endpoint), lambda seen: seen["servers"] == 1)


def test_a_deployment_that_is_watched_and_quiet_stays(aws: Aws, endpoint: str, role: str) -> None:
    alarm, candidate = _alarm_on_errors(aws, endpoint), _config(aws, role, "another story")
    aws.client("sagemaker").update_endpoint(
        EndpointName=endpoint, EndpointConfigName=candidate, DeploymentConfig=_watched(alarm, seconds=1)
    )
    found = _settled(aws, endpoint)
    assert (found["EndpointConfigName"], found.get("FailureReason")) == (candidate, None)
    assert _says(aws, endpoint)["says"] == "another story"
    until(lambda: _count(aws, endpoint), lambda seen: seen["servers"] == 1)


def _says(aws: Aws, endpoint: str) -> dict[str, Any]:
    answer = aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body="{}")
    return {"says": answer["Body"].read().decode()}


def _break(aws: Aws, endpoint: str) -> None:
    """Have the model fail once."""
    with pytest.raises(ClientError, match="out of memory"):
        aws.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body='{"break": true}')


def test_an_alarm_that_is_ok_again_rolls_nothing_back(aws: Aws, endpoint: str) -> None:
    """No data is no reason to ring: an endpoint that nobody asks, or none at all."""
    alarm, cloudwatch = _alarm_on_errors(aws, endpoint, period=10), aws.client("cloudwatch")

    def state() -> dict[str, Any]:
        cloudwatch.put_metric_data(Namespace="Another", MetricData=[{"MetricName": "Any", "Value": 1}])
        (found,) = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
        return dict(found)

    def broken() -> dict[str, Any]:
        _break(aws, endpoint)
        return state()

    until(broken, lambda seen: seen["StateValue"] == "ALARM")
    until(state, lambda seen: seen["StateValue"] == "OK")


def test_an_alarm_that_is_not_there_or_not_allowed_is_refused(aws: Aws, endpoint: str, role: str) -> None:
    candidate, alarm = _config(aws, role, "another story"), _alarm_on_errors(aws, endpoint)
    watched = {"EndpointName": endpoint, "EndpointConfigName": candidate}
    with pytest.raises(ClientError, match="Could not find the alarms"):
        aws.client("sagemaker").update_endpoint(**watched, DeploymentConfig=_watched("nobody", seconds=1))
    somebody = aws.user("sagemaker", {"sagemaker:UpdateEndpoint": "*"})
    with pytest.raises(ClientError, match="cloudwatch:DescribeAlarms"):
        somebody.update_endpoint(**watched, DeploymentConfig=_watched(alarm, seconds=1))


@pytest.mark.aws_fact
def test_an_alarm_is_watched_for_whoever_may_describe_all_alarms(aws: Aws, endpoint: str, role: str) -> None:
    candidate, alarm = _config(aws, role, "another story"), _alarm_on_errors(aws, endpoint)
    watched = {
        "EndpointName": endpoint,
        "EndpointConfigName": candidate,
        "DeploymentConfig": _watched(alarm, seconds=1),
    }
    alarms = "arn:aws:cloudwatch:*:*:alarm:"
    allowed = {"sagemaker:UpdateEndpoint": "*", "cloudwatch:DescribeAlarms": f"{alarms}{alarm}"}
    with pytest.raises(ClientError, match=r"cloudwatch:DescribeAlarms on resource: .*:alarm:\*"):
        aws.user("sagemaker", allowed).update_endpoint(**watched)
    allowed["cloudwatch:DescribeAlarms"] = f"{alarms}*"
    assert aws.user("sagemaker", allowed).update_endpoint(**watched)["EndpointArn"]


def _alarm_on_errors(aws: Aws, endpoint: str, period: int = 600) -> str:
    name = f"errors-of-{endpoint}"
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "only"},
        ],
        Statistic="Sum",
        Period=period,
        EvaluationPeriods=1,
        Threshold=3,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    return name


def _watched(alarm: str, seconds: int) -> dict[str, Any]:
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": seconds,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
    }
