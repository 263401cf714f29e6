"""What somebody without credentials sends, and what would have changed if it had worked."""

import json
from typing import Any
from urllib.parse import urlencode

from local.aws.cloud_environment import ACCOUNT, REGION
from tests.local.web.conftest import WebApp

FORGED_STACK = "forged"
ROOT_IN_THE_QUERY = {
    "Action": "CreateStack",
    "Version": "2010-05-15",
    "StackName": FORGED_STACK,
    "TemplateBody": json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}),
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": f"{ACCOUNT}/20261101/{REGION}/cloudformation/aws4_request",
    "X-Amz-Date": "20261101T000000Z",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "0" * 64,
}
"""A call of the account's root user, as its key was known and its signature not checked."""


def targets(web: WebApp) -> dict[str, str]:
    """Return addresses at which a request did something before anybody asked who sent it."""
    page, aws = web.front_door, f"https://127.0.0.1:{web.cloud.port}"
    query = urlencode(ROOT_IN_THE_QUERY)
    found = {}
    for name, base in (("page", page), ("aws", aws)):
        found[f"{name}: reset"] = f"{base}/_ministack/reset"
        found[f"{name}: settings"] = f"{base}/_ministack/config"
        found[f"{name}: bucket"] = f"{base}/forged-bucket?{query}"
    found["page: stack"] = f"{page}/aws/cognito-idp/?{query}"
    found["aws: stack"] = f"{aws}/?{query}"
    found["page: bucket form"] = f"{page}/aws/s3/{web.outputs['UploadsBucket']}"
    found["page: API"] = f"{page}/api/health"
    return found


def state_of(web: WebApp) -> dict[str, Any]:
    """Describe what a successful attack would have changed."""
    pool, uploads = web.outputs["UserPoolId"], web.outputs["UploadsBucket"]
    stacks = web.client("cloudformation").describe_stacks()["Stacks"]
    functions = web.client("lambda").list_functions()["Functions"]
    objects = web.client("s3").list_objects_v2(Bucket=uploads).get("Contents", [])
    return {
        "stacks": sorted((stack["StackName"], stack["StackStatus"]) for stack in stacks),
        "functions": sorted(function["FunctionName"] for function in functions),
        "buckets": sorted(bucket["Name"] for bucket in web.client("s3").list_buckets()["Buckets"]),
        "groups": web.client("cognito-idp").list_groups(UserPoolId=pool)["Groups"],
        "forged objects": [one["Key"] for one in objects if "forged" in one["Key"]],
    }
