"""CDK's own file deployment works unchanged: its handler, its command line, its permissions."""

import json
import time

import pytest

from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("index.html", "text/html"),
        ("assets/app.js", "text/javascript"),
        ("assets/app.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("config.json", "application/json"),
    ],
)
def test_files_have_the_type_that_a_browser_needs(web: WebApp, key: str, content_type: str) -> None:
    head = web.client("s3").head_object(Bucket=web.outputs["SiteBucket"], Key=key)
    assert head["ContentType"] == content_type
    assert head["CacheControl"] == "public, max-age=0, must-revalidate"


def test_values_that_only_deployment_knows_are_filled_in(web: WebApp) -> None:
    body = web.client("s3").get_object(Bucket=web.outputs["SiteBucket"], Key="config.json")["Body"].read()
    assert json.loads(body) == {"client": web.outputs["UserPoolClientId"]}


def test_files_go_below_their_prefix(web: WebApp) -> None:
    body = web.client("s3").get_object(Bucket=web.outputs["UploadsBucket"], Key="notes/hello.txt")["Body"]
    assert body.read() in {b"from the deployment", b"from the second deployment"}


def test_a_second_deployment_removes_what_is_gone_and_only_there(web: WebApp) -> None:
    s3, site, uploads = web.client("s3"), web.outputs["SiteBucket"], web.outputs["UploadsBucket"]
    s3.put_object(Bucket=site, Key="left-over.html", Body=b"old")
    s3.put_object(Bucket=uploads, Key="notes/mine.txt", Body=b"not pruned")
    web.deploy(greeting="from the second deployment")
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=site)["Contents"]}
    assert keys == {
        "index.html",
        "assets/app.js",
        "assets/app.css",
        "icon.svg",
        "config.json",
        "greeting.txt",
    }
    notes = {item["Key"] for item in s3.list_objects_v2(Bucket=uploads, Prefix="notes/")["Contents"]}
    assert notes == {"notes/hello.txt", "notes/mine.txt"}
    changed = s3.get_object(Bucket=uploads, Key="notes/hello.txt")["Body"].read()
    assert changed == b"from the second deployment"


BROKEN = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                }
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "nodejs24.x",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Code": {
                    "ZipFile": "exports.handler = async () => { throw new Error('broken on purpose'); };"
                },
            },
        },
        "Broken": {
            "Type": "Custom::Broken",
            "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}},
        },
    }
}


def test_a_custom_resource_that_breaks_fails_at_once_and_says_why(web: WebApp) -> None:
    formation = web.client("cloudformation")
    begun = time.monotonic()
    formation.create_stack(
        StackName="Broken", TemplateBody=json.dumps(BROKEN), Capabilities=["CAPABILITY_IAM"]
    )
    while time.monotonic() - begun < 60:
        stack = formation.describe_stacks(StackName="Broken")["Stacks"][0]
        if stack["StackStatus"] == "ROLLBACK_COMPLETE":
            break
        time.sleep(0.3)
    events = formation.describe_stack_events(StackName="Broken")["StackEvents"]
    reasons = [event.get("ResourceStatusReason", "") for event in events]
    assert any("broken on purpose" in reason for reason in reasons), reasons
