"""Sizes and contents that AWS refuses in every account."""

import io
import json
import zipfile
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.local.sagemaker.conftest import Aws, until

pytestmark = pytest.mark.cloud

ECHO = """
def handler(event, context):
    return "x" * event["characters"]
"""


@pytest.fixture(scope="module")
def function(aws: Aws) -> str:
    """Return a function that answers with as many characters as it is asked for."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.writestr("echo.py", ECHO)
    name, functions = f"echo-{uuid4().hex[:8]}", aws.client("lambda")
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=aws.role("lambda.amazonaws.com", {"logs:*": "*"}),
        Handler="echo.handler",
        Code={"ZipFile": bundle.getvalue()},
        Timeout=30,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    return name


def _refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as refused:
        call(**request)
    response: Any = refused.value.response
    return dict(response)


@pytest.mark.aws_fact
def test_a_functions_variables_are_4_kb_at_most(aws: Aws, function: str) -> None:
    change = aws.client("lambda").update_function_configuration
    change(FunctionName=function, Environment={"Variables": {"LONG": "x" * 4000}})
    error = _refused(change, FunctionName=function, Environment={"Variables": {"LONG": "x" * 4096}})["Error"]
    assert error["Code"] == "InvalidParameterValueException"
    assert "exceeded the 4KB limit" in error["Message"]


@pytest.mark.aws_fact
@pytest.mark.parametrize(("kind", "most"), [("RequestResponse", 6 * 2**20), ("Event", 2**20)])
def test_a_function_is_called_with_6_mb_at_most_and_asynchronously_with_1(
    aws: Aws, function: str, kind: str, most: int
) -> None:
    payload = json.dumps({"characters": 1, "rest": "x" * most})
    call = {"FunctionName": function, "InvocationType": kind}
    response = _refused(aws.client("lambda").invoke, **call, Payload=payload)
    assert response["Error"]["Code"] == "RequestTooLargeException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 413
    aws.client("lambda").invoke(**call, Payload=json.dumps({"characters": 1, "rest": "x" * (most - 100)}))


@pytest.mark.aws_fact
def test_a_function_that_answers_with_more_than_6_mb_fails(aws: Aws, function: str) -> None:
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=b'{"characters": 6300000}')
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.aws_fact
def test_a_subject_has_less_than_100_characters_in_one_line(aws: Aws) -> None:
    topics = aws.client("sns")
    message = {"TopicArn": topics.create_topic(Name=f"owner-{uuid4().hex[:8]}")["TopicArn"], "Message": "any"}
    for subject in ("x" * 100, "two\nlines"):
        error = _refused(topics.publish, **message, Subject=subject)["Error"]
        assert (error["Code"], error["Message"]) == ("InvalidParameter", "Invalid parameter: Subject")
    topics.publish(**message, Subject="é" * 99)


@pytest.mark.aws_fact
def test_a_stage_logs_only_if_the_account_has_a_role_for_it(aws: Aws) -> None:
    formation, name = aws.client("cloudformation"), f"api-{uuid4().hex[:8]}"
    # The setting is the account's: another test's stack may have left one.
    no_role = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}]
    aws.client("apigateway").update_account(patchOperations=no_role)
    api = {"Ref": "Api"}
    log = {"DestinationArn": {"Fn::GetAtt": ["Log", "Arn"]}, "Format": "$context.requestId"}
    method = {
        "RestApiId": api,
        "ResourceId": {"Fn::GetAtt": ["Api", "RootResourceId"]},
        "HttpMethod": "GET",
        "AuthorizationType": "NONE",
        "Integration": {"Type": "MOCK"},
    }
    stage = {"RestApiId": api, "DeploymentId": {"Ref": "Deployment"}, "StageName": "live"}
    deployment = {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": api}, "DependsOn": "Get"}
    resources = {
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": name}},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}},
        "Get": {"Type": "AWS::ApiGateway::Method", "Properties": method},
        "Deployment": deployment,
        "Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": {**stage, "AccessLogSetting": log}},
    }
    formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    until(
        lambda: formation.describe_stacks(StackName=name)["Stacks"][0],
        lambda stack: not stack["StackStatus"].endswith("IN_PROGRESS"),
    )
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("CloudWatch Logs role ARN must be set in account settings" in reason for reason in reasons)
    formation.delete_stack(StackName=name)


@pytest.mark.aws_fact
def test_a_stack_does_not_delete_a_bucket_that_holds_something(aws: Aws) -> None:
    formation, s3, name = aws.client("cloudformation"), aws.client("s3"), f"full-{uuid4().hex[:8]}"
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}
    formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Bucket": bucket}}))
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    s3.put_object(Bucket=name, Key="story.txt", Body="once")
    formation.delete_stack(StackName=name)
    stack = until(
        lambda: formation.describe_stacks(StackName=name)["Stacks"][0],
        lambda seen: seen["StackStatus"] != "DELETE_IN_PROGRESS",
    )
    assert stack["StackStatus"] == "DELETE_FAILED"
    s3.delete_object(Bucket=name, Key="story.txt")
    formation.delete_stack(StackName=name)
    formation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
