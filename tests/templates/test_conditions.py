"""Conditions that narrow permissions: callers, partitions, instances."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from policy_sentry.querying.actions import get_action_data

from contracts.settings import read
from local.aws.sagemaker.condition_keys import condition_keys
from stacks.functions.function_groups import GROUPS
from stacks.pipeline.job_states import training_seconds
from tests.templates import partitions
from tests.templates.conftest import EMAIL, Synthesized, definition, flat, statements

_HERE = {"aws:SourceAccount": "<AWS::AccountId>"}
_TRUSTED_WITHOUT_ACCOUNT = {
    "apigateway.amazonaws.com": "one role writes the logs of the whole account, and nothing documents that "
    "API Gateway names the account when it assumes it",
}


def _flat(value: Any) -> Any:
    """Resolve a condition as far as a template can be."""
    match value:
        case {"Ref": _} | {"Fn::Join": _} | {"Fn::GetAtt": _}:
            return flat(value)
        case dict():
            return {name: _flat(part) for name, part in value.items()}
        case list():
            return [_flat(part) for part in value]
    return value


def _own_statements(app: Synthesized) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, policy in app.resources("AWS::IAM::Policy"):
        if not name.startswith("Custom"):
            for statement in statements(policy):
                yield name, {**statement, "Condition": _flat(statement.get("Condition", {}))}


def test_no_service_acts_for_another_account(synthesized: Synthesized) -> None:
    trusting = [
        (name, statement["Principal"]["Service"], _flat(statement.get("Condition", {})))
        for name, role in synthesized.resources("AWS::IAM::Role")
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    ]
    assert {service for _, service, _ in trusting} > {"lambda.amazonaws.com", "states.amazonaws.com"}
    for name, service, condition in trusting:
        if service not in _TRUSTED_WITHOUT_ACCOUNT:
            assert condition == {"StringEquals": _HERE}, name
    assert set(_TRUSTED_WITHOUT_ACCOUNT) < {service for _, service, _ in trusting}


def test_a_function_is_invoked_for_one_resource_of_this_account(synthesized: Synthesized) -> None:
    permissions = list(synthesized.resources("AWS::Lambda::Permission"))
    assert permissions
    for name, permission in permissions:
        arn = json.dumps(permission["Properties"]["SourceArn"])
        assert "AWS::AccountId" in arn or "Fn::GetAtt" in arn, name


@pytest.mark.parametrize("type_", ["AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy"])
def test_buckets_and_topics_take_tls_only_and_services_of_this_account(
    synthesized: Synthesized, type_: str
) -> None:
    policies = list(synthesized.resources(type_))
    kind = type_.removesuffix("Policy")
    assert len(policies) == len(list(synthesized.resources(kind)))
    for name, policy in policies:
        written = policy["Properties"]["PolicyDocument"]["Statement"]
        plain = [one for one in written if one["Effect"] == "Deny"]
        assert [one["Condition"] for one in plain] == [{"Bool": {"aws:SecureTransport": "false"}}], name
        for one in written:
            if one["Effect"] == "Allow":
                limits = json.dumps(one["Condition"]).lower()
                assert "aws:sourceaccount" in limits or "aws:sourcearn" in limits, name


def test_every_bucket_is_one_of_this_account(synthesized: Synthesized) -> None:
    """An ARN of S3 names no account: a bucket that is deleted may be somebody else's the next day."""
    asked = [
        (name, statement)
        for name, statement in _own_statements(synthesized)
        if any(action.startswith("s3:") for action in statement["Action"])
    ]
    assert len(asked) > 20
    for name, statement in asked:
        assert statement["Condition"]["StringEquals"]["aws:ResourceAccount"] == "<AWS::AccountId>", name


def _of_function(name: str) -> str:
    """Folder of `lambda/` whose role a policy is, such as `debounce_uploads` for DebounceUploadsRole…."""
    words = re.sub(r"RoleDefaultPolicy.*", "", name)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", words).lower()


@pytest.mark.parametrize("function", sorted(name for group in GROUPS for name in group.functions))
def test_a_function_reaches_the_partitions_of_its_code_and_no_others(
    synthesized: Synthesized, function: str
) -> None:
    """When this fails, mend `grant_table_access(…, partitions=…)` in stacks/."""
    conditions = [
        statement["Condition"]
        for name, statement in _own_statements(synthesized)
        if _of_function(name) == function
        and statement["Effect"] == "Allow"
        and any(action.startswith("dynamodb:") for action in statement["Action"])
    ]
    allowed: set[str] = set()
    for condition in conditions:
        assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}
        allowed |= set(condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"])
    assert allowed == partitions.of_function(function)


def test_keys_are_beyond_all_but_three() -> None:
    functions = [name for group in GROUPS for name in group.functions]
    reaching = {name for name in functions if "KEYS" in partitions.of_function(name)}
    assert reaching == {"authorizer", "chat_api", "clean_up"}


def test_sagemaker_makes_nothing_that_the_settings_do_not_name(synthesized: Synthesized) -> None:
    settings = read({"admin_email": EMAIL})
    making = [
        (name, action, statement["Condition"])
        for name, statement in _own_statements(synthesized)
        for action in statement["Action"]
        if re.fullmatch(r"sagemaker:Create(\w+Job|Model|EndpointConfig)", action)
    ]
    hosting = [settings.hosting_instance, *settings.fallbacks]
    machines = {
        "sagemaker:CreateTrainingJob": [settings.training_instance],
        "sagemaker:CreateHyperParameterTuningJob": [settings.training_instance],
        "sagemaker:CreateProcessingJob": settings.evaluation_instances,
        "sagemaker:CreateTransformJob": settings.transform_instances,
        "sagemaker:CreateEndpointConfig": hosting,
    }
    assert {action for _, action, _ in making} == {*machines, "sagemaker:CreateModel"}
    for name, action, condition in making:
        if action in machines:
            types = condition["ForAllValues:StringEquals"]["sagemaker:InstanceTypes"]
            assert types == machines[action], name
            assert condition["Null"] == {"sagemaker:InstanceTypes": "false"}, name
        if action not in {"sagemaker:CreateEndpointConfig", "sagemaker:CreateTransformJob"}:
            assert condition["Bool"] == {"sagemaker:NetworkIsolation": "true"}, f"{name}: {action}"
    (longest,) = {
        condition["NumericLessThanEquals"]["sagemaker:MaxRuntimeInSeconds"]
        for _, action, condition in making
        if "Training" in action or "Tuning" in action
    }
    assert longest == str(training_seconds(settings))


@pytest.mark.parametrize("which", ["synthesized", "other", "everything"])
def test_the_jobs_of_the_state_machine_are_within_their_limits(
    which: str, request: pytest.FixtureRequest
) -> None:
    """The limits must fit what the app itself asks for, in every form of it."""
    app: Synthesized = request.getfixturevalue(which)
    limits = {
        action: statement["Condition"]
        for name, statement in _own_statements(app)
        if name.startswith("PipelineRole")
        for action in statement["Action"]
    }
    asked = 0
    for state in definition(app)["States"].values():
        made = re.search(r":sagemaker:create(\w+)\.sync", str(state.get("Resource")))
        if made:
            asked += 1
            operation = f"Create{made[1]}"
            keys = condition_keys(operation, state["Parameters"])
            _assert_within(limits[f"sagemaker:{operation}"], keys)
    assert asked >= 2


def _assert_within(limits: dict[str, Any], keys: dict[str, Any]) -> None:
    types = limits["ForAllValues:StringEquals"]["sagemaker:InstanceTypes"]
    assert set(keys.get("sagemaker:InstanceTypes", types)) <= set(types)
    assert keys["sagemaker:NetworkIsolation"] == limits["Bool"]["sagemaker:NetworkIsolation"]
    longest = limits["NumericLessThanEquals"]["sagemaker:MaxRuntimeInSeconds"]
    assert int(keys.get("sagemaker:MaxRuntimeInSeconds", longest)) <= int(longest)


@pytest.mark.parametrize("which", ["synthesized", "other"])
def test_every_condition_key_is_one_that_aws_fills_in(which: str, request: pytest.FixtureRequest) -> None:
    """A key that an action does not know is missing from the request: the statement would allow nothing."""
    app: Synthesized = request.getfixturevalue(which)
    used = {
        (key, action)
        for _, statement in _own_statements(app)
        for operator, keys in statement["Condition"].items()
        if not operator.endswith("IfExists")
        for key in keys
        if not key.startswith("aws:")
        for action in statement["Action"]
    }
    assert {key for key, _ in used} > {
        "dynamodb:LeadingKeys",
        "sagemaker:InstanceTypes",
        "iam:PassedToService",
    }
    unknown = [(key, action) for key, action in sorted(used) if key not in _known_keys(action)]
    assert not unknown


def _known_keys(action: str) -> set[str]:
    service, name = action.split(":")
    entries = get_action_data(service, name)[service]
    return {re.sub(r"\$\{\w+\}", "", key) for entry in entries for key in entry["condition_keys"]}
