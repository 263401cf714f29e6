"""Configure CloudFront in front of the API: reject requests without a token, and set security headers."""

import json
from pathlib import Path
from typing import Any

from aws_cdk import aws_cloudfront as cloudfront
from constructs import Construct

from stacks.chat.gateway_refusals import REFUSALS, RESPONSE_HEADERS
from stacks.chat.response_headers import security_headers

CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Responses of the API are data: a browser that shows one as a page must neither run nor load anything."""
_CODE = Path(__file__).with_suffix(".js")
_OPEN = ("GET /api/health",)
# An API key, or the three parts of a JSON Web Token within API Gateway's limit for headers, 10,240 bytes.
_BEARER = r"/^bearer +(sl-[0-9a-f]{12}-[\w-]{43}|[\w-]{10,2000}\.[\w-]{10,6000}\.[\w-]{10,2000}) *$/i"


def edge_code() -> str:
    """Return the function's JavaScript, preceded by its constants."""
    constants = f"const OPEN = {json.dumps(_OPEN)};\nconst BEARER = {_BEARER};\n"
    return f"{constants}const REFUSAL = {json.dumps(_refusal())};\n{_CODE.read_text(encoding='utf-8')}"


def edge_function(scope: Construct, name: str) -> cloudfront.Function:
    """Create the function that CloudFront runs for every request to the API."""
    return cloudfront.Function(
        scope,
        "ApiAtTheEdge",
        function_name=name,
        comment="Storyloom: refuses requests of the API without a token",
        code=cloudfront.FunctionCode.from_inline(edge_code()),
        runtime=cloudfront.FunctionRuntime.JS_2_0,
    )


def api_headers(scope: Construct, name: str) -> cloudfront.ResponseHeadersPolicy:
    """Create the policy for the headers of every response under /api, whichever service sent it."""
    return cloudfront.ResponseHeadersPolicy(
        scope,
        "ApiHeaders",
        response_headers_policy_name=name,
        comment="Storyloom: how a browser treats the API's answers",
        security_headers_behavior=security_headers(CONTENT_SECURITY_POLICY),
        custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
            custom_headers=[
                cloudfront.ResponseCustomHeader(header=name, value=RESPONSE_HEADERS[name], override=True)
                for name in ("Cache-Control", "Cross-Origin-Resource-Policy")
            ]
        ),
    )


def _refusal() -> dict[str, Any]:
    """Return API Gateway's response to a request without a token, in CloudFront Functions' format."""
    (refusal,) = (one for one in REFUSALS if one.kind == "UNAUTHORIZED")
    headers = {**RESPONSE_HEADERS, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
    headers["Content-Type"] = "application/json"
    return {
        "statusCode": refusal.status,
        "statusDescription": "Unauthorized",
        "headers": {name.lower(): {"value": value} for name, value in headers.items()},
        "body": {"encoding": "text", "data": refusal.body},
    }
