"""Security headers of page and API, and the requests that are refused before a function runs.

CloudFront refuses what has no token, API Gateway what it throttles, cannot route or cannot authorize. Both
use the words and the form of the API's own errors.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_cloudfront as cloudfront
from constructs import Construct

RESPONSE_HEADERS = {
    "Cache-Control": "no-store",
    # API Gateway takes a value in quotes, and may not keep the quotes within the full policy. CloudFront
    # replaces this by the full one.
    "Content-Security-Policy": "sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of API Gateway's own responses, as the API has them (chat_api/dependencies/responses.py)."""

CONTENT_SECURITY_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Responses of the API are data: a browser that shows one as a page must neither run nor load anything."""
_CODE = Path(__file__).with_suffix(".js")
_OPEN = ("GET /api/health",)
# An API key, or the three parts of a JSON Web Token within API Gateway's limit for headers, 10,240 bytes.
_BEARER = r"/^bearer +(sl-[0-9a-f]{12}-[\w-]{43}|[\w-]{10,2000}\.[\w-]{10,6000}\.[\w-]{10,2000}) *$/i"


@dataclass(frozen=True)
class Refusal:
    """One response that API Gateway sends by itself, without the function."""

    kind: str
    """API Gateway's `GatewayResponseType`."""
    status: int
    type: str
    message: str
    cure: str

    @property
    def body(self) -> str:
        """The body, as JSON."""
        error = {"type": self.type, "message": self.message, "cure": self.cure, "code": self.type}
        return json.dumps({"error": error})


_SIGN_IN = "Sign in and send the header Authorization: Bearer <ID token>, or an API key in its place."
_TRY_AGAIN = "Try again in a few seconds."
_PATHS = "The paths are in docs/openapi.json; they begin with /api."

REFUSALS = (
    Refusal("UNAUTHORIZED", 401, "unauthorized", "This needs a valid sign-in.", _SIGN_IN),
    Refusal("ACCESS_DENIED", 401, "unauthorized", "This sign-in is not allowed here.", _SIGN_IN),
    Refusal("EXPIRED_TOKEN", 401, "unauthorized", "The sign-in has expired.", _SIGN_IN),
    Refusal("MISSING_AUTHENTICATION_TOKEN", 404, "not_found", "There is no such path.", _PATHS),
    Refusal(
        "REQUEST_TOO_LARGE",
        413,
        "too_large",
        "The request is larger than 6 MB.",
        "Shorten it. Upload stories with the form that POST /api/stories returns.",
    ),
    Refusal("THROTTLED", 429, "too_many_requests", "Too many requests at once.", _TRY_AGAIN),
    Refusal("QUOTA_EXCEEDED", 429, "too_many_requests", "The quota is used up.", "Try again later."),
    Refusal("AUTHORIZER_FAILURE", 500, "unavailable", "The sign-in could not be checked.", _TRY_AGAIN),
    Refusal(
        "AUTHORIZER_CONFIGURATION_ERROR", 500, "unavailable", "The sign-in could not be checked.", _TRY_AGAIN
    ),
    Refusal("INTEGRATION_FAILURE", 502, "unavailable", "The API could not be reached.", _TRY_AGAIN),
    Refusal("INTEGRATION_TIMEOUT", 504, "timeout", "The API took too long to respond.", _TRY_AGAIN),
    Refusal("DEFAULT_4XX", 400, "invalid_request", "The request was not understood.", _PATHS),
    Refusal("DEFAULT_5XX", 500, "unavailable", "Something went wrong on our side.", _TRY_AGAIN),
)


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
        comment="Storyloom: refuses API requests without a token",
        code=cloudfront.FunctionCode.from_inline(edge_code()),
        runtime=cloudfront.FunctionRuntime.JS_2_0,
    )


def api_headers(scope: Construct, name: str) -> cloudfront.ResponseHeadersPolicy:
    """Create the policy for the headers of every response under /api, whichever service sent it."""
    return cloudfront.ResponseHeadersPolicy(
        scope,
        "ApiHeaders",
        response_headers_policy_name=name,
        comment="Storyloom: security headers of the API",
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


def security_headers(content_security_policy: str) -> cloudfront.ResponseSecurityHeadersBehavior:
    """Return the security headers, each of which replaces the origin's.

    Args:
        content_security_policy: what a browser may do with the response.
    """
    return cloudfront.ResponseSecurityHeadersBehavior(
        content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
            content_security_policy=content_security_policy, override=True
        ),
        content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
        frame_options=cloudfront.ResponseHeadersFrameOptions(
            frame_option=cloudfront.HeadersFrameOption.DENY, override=True
        ),
        referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
            referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
        ),
        strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
            access_control_max_age=Duration.days(365), include_subdomains=True, override=True
        ),
    )
