"""Between a person and the model: sign-in, what the browser may do, and how an answer is streamed."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Match, Template

from contracts import settings
from contracts.roles import ROLES
from shared.accounts import audit
from stacks.chat.edge import CONTENT_SECURITY_POLICY, edge_code
from stacks.chat.page import PageMissingError
from stacks.composition import compose
from tests.browser.server import CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY_IN_CHROMIUM
from tests.templates.conftest import EMAIL, Synthesized, flat, statements


@pytest.fixture
def chat(synthesized: Synthesized) -> Template:
    """The template of the Chat stack."""
    return synthesized.chat


def test_only_the_health_check_is_open(chat: Template) -> None:
    methods = {
        method["Properties"]["HttpMethod"]: method["Properties"]
        for method in chat.find_resources("AWS::ApiGateway::Method").values()
    }
    assert set(methods) == {"GET", "ANY"}
    assert methods["GET"]["AuthorizationType"] == "NONE"
    assert flat(methods["GET"]["ResourceId"]).startswith("<Apiapihealth")
    assert methods["ANY"]["AuthorizationType"] == "CUSTOM"
    assert methods["ANY"]["AuthorizerId"]


def test_a_sign_in_is_checked_at_every_call(chat: Template) -> None:
    chat.has_resource_properties(
        "AWS::ApiGateway::Authorizer",
        {
            "Type": "REQUEST",
            "IdentitySource": "method.request.header.Authorization",
            "AuthorizerResultTtlInSeconds": 0,
        },
    )


def test_answers_stream(chat: Template) -> None:
    for method in chat.find_resources("AWS::ApiGateway::Method").values():
        integration = method["Properties"]["Integration"]
        assert integration["ResponseTransferMode"] == "STREAM"
        assert flat(integration["Uri"]).endswith("/response-streaming-invocations")
        assert integration["TimeoutInMillis"] == 900_000
    chat.has_resource_properties(
        "AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}}
    )
    chat.has_resource_properties(
        "AWS::Lambda::Function",
        {
            "Handler": "run.sh",
            "Timeout": 900,
            "Layers": [
                {"Fn::Join": ["", Match.array_with([":753240598075:layer:LambdaAdapterLayerX86:26"])]}
            ],
            "Environment": {
                "Variables": Match.object_like(
                    {
                        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
                        "AWS_LWA_INVOKE_MODE": "response_stream",
                        "AWS_LWA_PORT": "8080",
                    }
                )
            },
        },
    )


def test_api_gateways_own_refusals_say_what_to_do(chat: Template) -> None:
    refusals = {
        response["Properties"]["ResponseType"]: response["Properties"]
        for response in chat.find_resources("AWS::ApiGateway::GatewayResponse").values()
    }
    expected = {"UNAUTHORIZED": "401", "EXPIRED_TOKEN": "401", "REQUEST_TOO_LARGE": "413", "THROTTLED": "429"}
    assert expected.items() <= {kind: refusal["StatusCode"] for kind, refusal in refusals.items()}.items()
    for kind, refusal in refusals.items():
        error = json.loads(refusal["ResponseTemplates"]["application/json"])["error"]
        assert all(error[part] for part in ("type", "message", "cure")), kind
        assert error["code"] == error["type"], "as in the API's own errors"
        assert (error["type"] == "unauthorized") == (refusal["StatusCode"] == "401")
        headers = refusal["ResponseParameters"]
        assert headers["gatewayresponse.header.X-Content-Type-Options"] == "'nosniff'", kind
        assert headers["gatewayresponse.header.Cache-Control"] == "'no-store'", kind
        assert not [name for name in headers if "Access-Control" in name], kind


@pytest.mark.aws_fact
def test_no_prompt_is_logged_and_nobody_may_flood(chat: Template) -> None:
    (stage,) = chat.find_resources("AWS::ApiGateway::Stage").values()
    rates = {}
    for methods in stage["Properties"]["MethodSettings"]:
        assert methods["DataTraceEnabled"] is False
        rates[methods["HttpMethod"], methods["ResourcePath"]] = methods["ThrottlingRateLimit"]
    # What needs no sign-in has a rate of its own: API Gateway counts each method apart.
    assert rates == {("*", "/*"): 20, ("GET", "/~1api~1health"): 2}
    assert "$context.identity.user" not in stage["Properties"]["AccessLogSetting"]["Format"]


def test_nobody_signs_up_by_themselves(chat: Template) -> None:
    chat.has_resource_properties(
        "AWS::Cognito::UserPool",
        {
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True},
            "UsernameAttributes": ["email"],
            "Policies": {"PasswordPolicy": Match.object_like({"MinimumLength": 12, "RequireSymbols": True})},
        },
    )
    chat.has_resource_properties(
        "AWS::Cognito::UserPoolClient",
        {
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            "GenerateSecret": False,
            "PreventUserExistenceErrors": "ENABLED",
        },
    )


@pytest.mark.aws_fact
def test_an_address_is_one_person_however_it_is_written(chat: Template) -> None:
    """Cognito tells `Ada@` from `ada@` unless the pool is made otherwise; later it cannot be changed."""
    (pool,) = chat.find_resources("AWS::Cognito::UserPool").values()
    assert pool["Properties"].get("UsernameConfiguration") == {"CaseSensitive": False}


@pytest.mark.aws_fact
def test_nobody_writes_the_e_mail_that_names_them(chat: Template) -> None:
    (client,) = chat.find_resources("AWS::Cognito::UserPoolClient").values()
    writable = client["Properties"].get("WriteAttributes")
    assert writable, "none, or an empty list, lets people write every standard attribute"
    assert not {"email", "email_verified", "name", "preferred_username"} & set(writable)
    (pool,) = chat.find_resources("AWS::Cognito::UserPool").values()
    assert "Schema" not in pool["Properties"], "an attribute that is required would have to be writable"


def test_the_first_person_is_invited(chat: Template, other: Synthesized) -> None:
    chat.has_resource_properties("AWS::Cognito::UserPoolUser", {"Username": EMAIL})
    chat.has_resource_properties(
        "AWS::Cognito::UserPoolUserToGroupAttachment", {"Username": EMAIL, "GroupName": "owner"}
    )
    for kind in ("UserPoolUser", "UserPoolUserToGroupAttachment"):
        other.chat.resource_count_is(f"AWS::Cognito::{kind}", 0)
    groups = other.chat.find_resources("AWS::Cognito::UserPoolGroup").values()
    assert {group["Properties"]["GroupName"] for group in groups} == set(ROLES)
    other.pipeline.resource_count_is("AWS::SNS::Subscription", 0)


def _page_headers(chat: Template) -> dict[str, Any]:
    """The security headers of the page itself; the API's answers have a policy of their own."""
    policies = chat.find_resources("AWS::CloudFront::ResponseHeadersPolicy").values()
    configs = [policy["Properties"]["ResponseHeadersPolicyConfig"] for policy in policies]
    (config,) = (one for one in configs if not flat(one["Name"]).endswith("-api"))
    headers: dict[str, Any] = config["SecurityHeadersConfig"]
    return headers


def test_the_browsers_tests_have_the_pages_policy(chat: Template) -> None:
    """In Chromium; there everything that the page connects to is of its own origin."""
    csp = flat(_page_headers(chat)["ContentSecurityPolicy"]["ContentSecurityPolicy"])
    rules = [rule for rule in csp.split("; ") if not rule.startswith("connect-src")]
    tried = CONTENT_SECURITY_POLICY_IN_CHROMIUM.split("; ")
    assert [rule for rule in tried if not rule.startswith("connect-src")] == rules


def test_cloudfront_guards_the_api(chat: Template) -> None:
    (distribution,) = chat.find_resources("AWS::CloudFront::Distribution").values()
    (api,) = distribution["Properties"]["DistributionConfig"]["CacheBehaviors"]
    assert api["PathPattern"] == "/api/*"
    (function,) = api["FunctionAssociations"]
    assert function["EventType"] == "viewer-request"
    (code,) = chat.find_resources("AWS::CloudFront::Function").values()
    assert code["Properties"]["FunctionCode"] == edge_code()
    assert code["Properties"]["FunctionConfig"]["Runtime"] == "cloudfront-js-2.0"
    assert code["Properties"]["AutoPublish"] is True
    policy = chat.find_resources("AWS::CloudFront::ResponseHeadersPolicy")[
        flat(api["ResponseHeadersPolicyId"]).strip("<>")
    ]
    config = policy["Properties"]["ResponseHeadersPolicyConfig"]
    assert "CorsConfig" not in config
    csp = config["SecurityHeadersConfig"]["ContentSecurityPolicy"]
    assert csp == {"ContentSecurityPolicy": CONTENT_SECURITY_POLICY, "Override": True}
    custom = {
        one["Header"]: (one["Value"], one["Override"]) for one in config["CustomHeadersConfig"]["Items"]
    }
    assert custom == {
        "Cache-Control": ("no-store", True),
        "Cross-Origin-Resource-Policy": ("same-origin", True),
    }


def test_the_audit_trail_is_added_to_and_never_changed(chat: Template) -> None:
    found = {
        name: [one for one in statements(policy) if _is_of_the_audit_trail(one)]
        for name, policy in chat.find_resources("AWS::IAM::Policy").items()
    }
    (name,) = (name for name, ones in found.items() if ones)
    assert name.startswith("ChatApi")
    by_effect = {one["Effect"]: one["Action"] for one in found[name]}
    assert by_effect == {
        "Allow": ["dynamodb:PutItem", "dynamodb:Query"],
        "Deny": ["dynamodb:UpdateItem", "dynamodb:DeleteItem"],
    }
    for policy in chat.find_resources("AWS::IAM::Policy").values():
        for one in statements(policy):
            assert not {"dynamodb:BatchWriteItem", "dynamodb:PartiQLUpdate"} & set(one["Action"])


def _is_of_the_audit_trail(statement: dict[str, Any]) -> bool:
    keys = [values.get("dynamodb:LeadingKeys") for values in statement.get("Condition", {}).values()]
    return [audit.PARTITION] in keys


def test_the_page_may_run_and_reach_only_its_own(chat: Template) -> None:
    headers = _page_headers(chat)
    csp = flat(headers["ContentSecurityPolicy"]["ContentSecurityPolicy"])
    rules = dict(rule.split(" ", 1) for rule in csp.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"].split() == [
        "'self'",
        "https://cognito-idp.<AWS::Region>.amazonaws.com/",
        "https://<StoriesBucketName>.s3.<AWS::Region>.<AWS::URLSuffix>",
    ]
    assert "unsafe" not in csp
    assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000


def test_on_one_machine_the_page_reaches_the_front_door(other: Synthesized) -> None:
    chat = other.chat
    csp = flat(_page_headers(chat)["ContentSecurityPolicy"]["ContentSecurityPolicy"])
    assert "connect-src 'self' http://localhost:8400/aws/cognito-idp/ http://localhost:8400;" in csp
    chat.has_output("PageUrl", {"Value": "http://localhost:8400"})


def test_page_and_api_share_one_origin_over_https(chat: Template) -> None:
    (distribution,) = chat.find_resources("AWS::CloudFront::Distribution").values()
    config = distribution["Properties"]["DistributionConfig"]
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    (api,) = config["CacheBehaviors"]
    assert api["PathPattern"] == "/api/*"
    assert api["Compress"] is False, "compressing would hold a stream back"
    assert "POST" in api["AllowedMethods"]
    assert api["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # CachingDisabled
    assert api["OriginRequestPolicyId"] == "b689b0a8-53d0-40ab-baf2-68738e2966ac"  # AllViewerExceptHostHeader
    assert [origin for origin in config["Origins"] if origin.get("OriginAccessControlId")]


def test_the_endpoint_manager_runs_every_five_minutes(chat: Template) -> None:
    chat.has_resource_properties(
        "AWS::Events::Rule",
        {
            "ScheduleExpression": "rate(5 minutes)",
            "Targets": [Match.object_like({"Input": '{"action":"tick"}'})],
        },
    )


def test_a_page_that_is_not_built_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(PageMissingError, match="make web"):
        compose(App(outdir=str(tmp_path / "assembly")), settings.read({}), built_page=tmp_path / "dist")
