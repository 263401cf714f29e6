"""What API Gateway itself refuses, said in the words and the form of the API's own errors."""

import json
from dataclasses import dataclass

RESPONSE_HEADERS = {
    "Cache-Control": "no-store",
    # The full policy has quotes in it, which a static value here, itself in quotes, cannot be sure to keep.
    # CloudFront replaces it by the full one.
    "Content-Security-Policy": "sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What these answers tell a browser, as the API's own do (`chat_api/dependencies/responses.py`)."""


@dataclass(frozen=True)
class Refusal:
    """One answer of API Gateway that never reaches the function."""

    kind: str
    """API Gateway's `GatewayResponseType`."""
    status: int
    type: str
    message: str
    cure: str

    @property
    def body(self) -> str:
        """The JSON that is sent."""
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
        "Shorten it; send stories with the form that POST /api/stories gives.",
    ),
    Refusal("THROTTLED", 429, "too_many_requests", "Too many requests at once.", _TRY_AGAIN),
    Refusal("QUOTA_EXCEEDED", 429, "too_many_requests", "The quota is used up.", "Try again later."),
    Refusal("AUTHORIZER_FAILURE", 500, "unavailable", "The sign-in could not be checked.", _TRY_AGAIN),
    Refusal(
        "AUTHORIZER_CONFIGURATION_ERROR", 500, "unavailable", "The sign-in could not be checked.", _TRY_AGAIN
    ),
    Refusal("INTEGRATION_FAILURE", 502, "unavailable", "The API could not be reached.", _TRY_AGAIN),
    Refusal("INTEGRATION_TIMEOUT", 504, "timeout", "The API took too long to begin.", _TRY_AGAIN),
    Refusal("DEFAULT_4XX", 400, "invalid_request", "The request was not understood.", _PATHS),
    Refusal("DEFAULT_5XX", 500, "unavailable", "Something went wrong on our side.", _TRY_AGAIN),
)
