"""Permissions: none that is not needed, and a reason for every wildcard."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cdk_nag import AwsSolutionsChecks

from stacks.functions.function_groups import GROUPS
from tests.templates.conftest import Synthesized, flat, statements

# What the CDK writes for its own deployment function; see stacks/custom_resources/file_deployment.py.
_CDKS_OWN = "CustomCDKBucketDeployment"

SCALED = "sagemaker:variant:DesiredInstanceCount"

# Actions that AWS lets nobody limit to a resource, and the condition that limits them if there is one.
_WITHOUT_RESOURCE = {
    "cloudwatch:PutMetricData": "cloudwatch:namespace",
    "ecr:GetAuthorizationToken": None,
    "lambda:GetAccountSettings": None,
    "pricing:GetProducts": None,
    "logs:CreateLogDelivery": None,
    "logs:GetLogDelivery": None,
    "logs:UpdateLogDelivery": None,
    "logs:DeleteLogDelivery": None,
    "logs:ListLogDeliveries": None,
    "logs:PutResourcePolicy": None,
    "logs:DescribeResourcePolicies": None,
    "logs:DescribeLogGroups": None,
    "sagemaker:ListEndpointConfigs": None,
    "sagemaker:ListHyperParameterTuningJobs": None,
    "sagemaker:ListModelPackages": None,
    "sagemaker:ListModels": None,
    "sagemaker:ListProcessingJobs": None,
    "sagemaker:ListTrainingJobs": None,
    "sagemaker:ListTransformJobs": None,
    "servicequotas:ListAWSDefaultServiceQuotas": None,
    "servicequotas:ListServiceQuotas": None,
    "xray:PutTraceSegments": None,
    "xray:PutTelemetryRecords": None,
    "xray:GetSamplingRules": None,
    "xray:GetSamplingTargets": None,
}


def _own_statements(synthesized: Synthesized) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, statement)
        for name, policy in synthesized.resources("AWS::IAM::Policy")
        if not name.startswith(_CDKS_OWN)
        for statement in statements(policy)
    ]


def test_every_function_has_a_role_of_its_own(synthesized: Synthesized) -> None:
    functions = {
        name: resource
        for name, resource in synthesized.resources("AWS::Lambda::Function")
        if not name.startswith(_CDKS_OWN)
    }
    assert len(functions) == sum(len(group.functions) for group in GROUPS)
    roles = [flat(function["Properties"]["Role"]) for function in functions.values()]
    assert len(set(roles)) == len(functions)


def test_no_action_has_a_wildcard(synthesized: Synthesized) -> None:
    for name, statement in _own_statements(synthesized):
        assert not [action for action in statement["Action"] if "*" in action], name


def test_all_resources_are_named_but_where_aws_knows_none(synthesized: Synthesized) -> None:
    everything = [
        (name, action, statement)
        for name, statement in _own_statements(synthesized)
        if "*" in statement["Resource"]
        for action in statement["Action"]
    ]
    assert everything, "the allow-list is used"
    for name, action, statement in everything:
        assert action in _WITHOUT_RESOURCE, f"{name} may {action} on everything"
        key = _WITHOUT_RESOURCE[action]
        if key:
            assert key in statement["Condition"]["StringEquals"], name


def test_a_wildcard_never_covers_a_whole_kind(synthesized: Synthesized) -> None:
    """`endpoint/*` would be every endpoint of the account; `model/storyloom-*` is ours."""
    for name, statement in _own_statements(synthesized):
        for resource in statement["Resource"]:
            if resource.endswith(":scalable-target/*"):
                # AWS numbers them: a condition limits what they scale.
                limits = statement["Condition"]["StringEquals"]
                assert limits["application-autoscaling:scalable-dimension"] == SCALED, name
                continue
            if statement["Action"] == ["cloudwatch:DescribeAlarms"]:
                continue  # AWS checks it on alarm:*, whichever alarms are named
            # arn:partition:service:region:account:kind/name; the tokens for three of them have colons too
            if resource.startswith("arn:") and ":s3:::" not in resource:
                kind_and_name = re.sub(r"<AWS::\w+>", "it", resource).split(":", 5)[5]
                assert not re.match(r"^[A-Za-z-]*[/:]?\*", kind_and_name), f"{name}: {resource}"


def test_models_and_configurations_of_an_app_whose_name_begins_with_ours_are_out_of_reach(
    synthesized: Synthesized,
) -> None:
    theirs = ("storyloom-two-v1-g6-xlarge-0f3c2a1b", "storyloom-two-batch-v1-0f3c2a1b")
    patterns = {
        resource.rpartition("/")[2]
        for _, statement in _own_statements(synthesized)
        for resource in statement["Resource"]
        if re.search(r":(model|endpoint-config)/", resource)
    }
    assert patterns, "they are made and deleted at run time"
    reached = [pattern for pattern in patterns if any(fnmatchcase(name, pattern) for name in theirs)]
    assert not reached


def test_only_prefixes_of_the_artifacts_bucket_are_open(synthesized: Synthesized) -> None:
    for name, statement in _own_statements(synthesized):
        for resource in statement["Resource"]:
            assert not resource.endswith("<ArtifactsBucketName>/*"), f"{name} may use all artifacts"


def test_only_reproducible_objects_may_be_deleted(synthesized: Synthesized) -> None:
    deleting = [
        (re.sub(r"Role.*", "", name), statement["Resource"])
        for name, statement in _own_statements(synthesized)
        if any(action.startswith("s3:Delete") for action in statement["Action"])
    ]
    assert deleting == [
        ("Begin", _artifacts("cache/stories/*")),
        ("StageBaseModel", _artifacts("base-models/*")),
        ("Deploy", _artifacts("hosting/*")),
        (
            "CollectGarbage",
            _artifacts(
                "hosting/*",
                "transforms/model/*",
                "base-models/*",
                "runs/*/checkpoints/*",
                "runs/*/evaluation/merged/*",
            ),
        ),
        # What the page is made of, when the page goes.
        ("CleanUp", ["arn:<AWS::Partition>:s3:::storyloom-chat-page*/*"]),
        ("ChatApi", ["arn:<AWS::Partition>:s3:::<StoriesBucketName>/*"]),
    ]


def _artifacts(*keys: str) -> list[str]:
    return [f"arn:<AWS::Partition>:s3:::<ArtifactsBucketName>/{key}" for key in keys]


def test_nobody_may_remove_a_version_of_a_story(synthesized: Synthesized) -> None:
    actions = {action for _, statement in _own_statements(synthesized) for action in statement["Action"]}
    assert "s3:DeleteObject" in actions, "a marker on a story, which is versioned"
    assert "s3:DeleteObjectVersion" not in actions


def test_only_six_functions_and_the_guard_touch_the_endpoint(synthesized: Synthesized) -> None:
    touching = {
        re.sub(r"Role.*", "", name)
        for name, statement in _own_statements(synthesized)
        if any(action.startswith("sagemaker:") and "Endpoint" in action for action in statement["Action"])
    }
    functions = {"Deploy", "SmokeTest", "EndpointManager", "ChatApi", "CleanUp", "CollectGarbage"}
    assert touching == functions | {"EndpointGuard"}


@pytest.mark.parametrize(
    ("function", "action", "resource"),
    [
        ("Begin", "s3:ListBucketVersions", r"<StoriesBucketName>$"),
        ("ReadStories", "s3:GetObjectVersion", r"<StoriesBucketName>/\*$"),
        ("Gate", "s3:GetObject", r"<ArtifactsBucketName>/runs/\*/evaluation/\*$"),
        ("Deploy", "sagemaker:CreateEndpoint", r":endpoint/storyloom$"),
        ("EndpointManager", "sagemaker:DeleteEndpoint", r":endpoint/storyloom$"),
        ("DebounceUploads", "scheduler:UpdateSchedule", r":schedule/<QuietPeriodGroup\w+>/quiet$"),
        ("StartRun", "states:StartExecution", r":stateMachine:Storyloom-Pipeline-[0-9a-f]{8}$"),
        ("ChatApi", "sagemaker:InvokeEndpointWithResponseStream", r":endpoint/storyloom$"),
        ("ChatApi", "states:SendTaskSuccess", r":stateMachine:Storyloom-Pipeline-[0-9a-f]{8}$"),
        ("AskApproval", "ssm:GetParameter", r":parameter/storyloom/page-url$"),
        ("Authorizer", "dynamodb:GetItem", r":table/<TableName>$"),
        ("ChatApi", "lambda:InvokeFunction", r"^<EndpointManagerFunction\w+\.Arn>$"),
        ("PipelineRole", "sagemaker:CreateTrainingJob", r":training-job/storyloom-train-\*$"),
        ("JobRole", "s3:PutObject", r"<ArtifactsBucketName>/runs/\*$"),
        ("HostingRole", "s3:GetObject", r"<ArtifactsBucketName>/hosting/\*$"),
        ("TransformRole", "s3:GetObject", r"<ArtifactsBucketName>/transforms/batch/\*/requests/\*$"),
        ("TransformRole", "s3:PutObject", r"<ArtifactsBucketName>/transforms/batch/\*/answers/\*$"),
        ("StartBatch", "sagemaker:CreateTransformJob", r":transform-job/storyloom-batch-\*$"),
        ("EndpointManager", "sagemaker:StopTransformJob", r":transform-job/storyloom-batch-\*$"),
        ("CleanUp", "sagemaker:DeleteEndpoint", r":endpoint/storyloom$"),
        ("CleanUp", "sagemaker:DeleteModelPackage", r":model-package/storyloom/\*$"),
        ("CleanUp", "logs:DeleteLogStream", r":log-stream:storyloom-\*$"),
        ("CleanUp", "cloudformation:DescribeStacks", r":stack/Storyloom-(Pipeline|Chat)/\*$"),
    ],
)
def test_permissions_are_exactly_those_that_are_needed(
    synthesized: Synthesized, function: str, action: str, resource: str
) -> None:
    allowed = [
        statement["Resource"]
        for name, statement in _own_statements(synthesized)
        if name.startswith(function) and action in statement["Action"]
    ]
    assert allowed, f"{function} may not {action}"
    assert any(re.search(resource, one) for one in allowed[0])
    assert len(allowed) == 1


def _of(synthesized: Synthesized, function: str, action: str) -> list[dict[str, Any]]:
    return [
        statement
        for name, statement in _own_statements(synthesized)
        if name.startswith(function) and action in statement["Action"]
    ]


def test_nobody_may_scale_an_endpoint_of_one_instance(synthesized: Synthesized) -> None:
    actions = {action for _, statement in _own_statements(synthesized) for action in statement["Action"]}
    assert "application-autoscaling:DeregisterScalableTarget" in actions, "what settings before have made"
    for action in ("application-autoscaling:RegisterScalableTarget", "iam:CreateServiceLinkedRole"):
        assert action not in actions
    assert "cloudwatch:PutMetricAlarm" not in actions


def test_only_the_endpoint_manager_has_the_load_scale_the_endpoint(other: Synthesized) -> None:
    for action in ("RegisterScalableTarget", "PutScalingPolicy"):
        ((name, statement),) = [
            (name, statement)
            for name, statement in _own_statements(other)
            if f"application-autoscaling:{action}" in statement["Action"]
        ]
        assert name.startswith("EndpointManager")
        assert statement["Condition"]["StringEquals"] == {
            "application-autoscaling:service-namespace": "sagemaker",
            "application-autoscaling:scalable-dimension": SCALED,
        }
    (linked,) = _of(other, "EndpointManager", "iam:CreateServiceLinkedRole")
    assert linked["Condition"]["StringEquals"] == {
        "iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"
    }


@pytest.mark.parametrize("function", ["EndpointManager", "Deploy", "SmokeTest"])
def test_alarms_of_others_are_beyond_every_function(other: Synthesized, function: str) -> None:
    """Application Auto Scaling asks for alarms without a name, and only it may."""
    for action in ("cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"):
        (asked,) = _of(other, function, action)
        assert asked["Condition"] == {"Bool": {"aws:ViaAWSService": "true"}}
    own = _of(other, function, "cloudwatch:DescribeAlarmHistory")
    alarms = [resource.rpartition(":")[2] for statement in own for resource in statement["Resource"]]
    assert alarms == ["fables-endpoint-errors", "fables-endpoint-latency"]


@pytest.mark.parametrize("role", ["HostingRole", "Deploy", "SmokeTest", "EndpointManager"])
def test_alarms_are_described_by_whoever_has_sagemaker_watch_them(
    synthesized: Synthesized, role: str
) -> None:
    (looking,) = _of(synthesized, role, "cloudwatch:DescribeAlarms")
    assert looking["Action"] == ["cloudwatch:DescribeAlarms"], "this wildcard is for nothing else"
    (alarms,) = looking["Resource"]
    assert alarms.endswith(":alarm:*")


def test_a_role_can_be_passed_to_one_service_only(synthesized: Synthesized) -> None:
    passing = [s for _, s in _own_statements(synthesized) if "iam:PassRole" in s["Action"]]
    assert passing
    for statement in passing:
        assert statement["Condition"]["StringEquals"]["iam:PassedToService"]
        assert all("*" not in resource for resource in statement["Resource"])


def test_managed_policies_are_only_where_aws_insists(synthesized: Synthesized) -> None:
    with_policies = {
        re.sub(r"[0-9A-F]{8}$", "", name)
        for name, role in synthesized.resources("AWS::IAM::Role")
        if role["Properties"].get("ManagedPolicyArns") and not name.startswith(_CDKS_OWN)
    }
    assert with_policies == {"ApiCloudWatchRole"}


@pytest.mark.parametrize("which", ["synthesized", "other"])
def test_cdk_nag_finds_nothing_that_is_not_acknowledged(which: str, request: pytest.FixtureRequest) -> None:
    app = request.getfixturevalue(which).app
    report = AwsSolutionsChecks(app).validate_scope(app)
    assert [violation.rule_name for violation in report.violations] == []
