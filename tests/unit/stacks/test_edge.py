"""What CloudFront refuses for the API before anything of it runs: the real function, in Node."""

import json
import secrets

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.responses import Response

from chat_api.dependencies import responses
from stacks.chat.edge import CONTENT_SECURITY_POLICY, REFUSALS, RESPONSE_HEADERS, edge_code
from tests.unit.local.test_edge import run, viewer_request

LONGEST_FUNCTION = 10 * 1024
"""Bytes, by CloudFront's quotas."""
KEY = f"sl-{secrets.token_hex(6)}-{secrets.token_urlsafe(32)}"


@pytest.fixture(scope="module")
def id_token() -> str:
    """A token as long as Cognito's, with all that it writes into one."""
    claims = dict.fromkeys(("sub", "iss", "aud", "event_id", "origin_jti", "jti", "email"), "x" * 40)
    groups = {"cognito:groups": ["owner"], "cognito:username": "x" * 36, "token_use": "id", "exp": 2**31}
    key = rsa.generate_private_key(65537, 2048)
    return jwt.encode({**claims, **groups}, key, algorithm="RS256", headers={"kid": "x" * 44})


def _ask(*headers: str, method: str = "GET", path: str = "/api/status") -> Response | None:
    named = [("Authorization", value) for value in headers]
    (answer,) = run(edge_code(), viewer_request(method, path, named))
    return answer


def test_requests_with_a_token_or_a_key_are_passed_on(id_token: str) -> None:
    for value in (f"Bearer {id_token}", f"bearer  {KEY} ", f"BEARER {KEY}"):
        assert _ask(value) is None, value
        assert _ask(value, method="POST", path="/api/v1/chat/completions") is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic dXNlcjpwYXNzd29yZA=="],
        ["Bearer x"],
        ["Bearer sl-0123456789ab-short"],
        [f"Bearer {KEY}x"],
        [f"Bearer {KEY} {KEY}"],
        ["Bearer aaaaaaaaaaaa.bbbbbbbbbbbb."],
        ["Bearer aaaaaaaaaaaa.bbbbbbbbbbbb.cccccccccccc.dddddddddddd"],
        ["Bearer " + "a" * 20_000],
        [f"Bearer {KEY}", f"Bearer {KEY}"],
    ],
)
def test_malformed_tokens_are_refused(headers: list[str]) -> None:
    answer = _ask(*headers)
    assert answer is not None
    assert answer.status_code == 401
    (refusal,) = (one for one in REFUSALS if one.kind == "UNAUTHORIZED")
    assert json.loads(bytes(answer.body)) == json.loads(refusal.body), "as API Gateway says it"
    assert answer.headers["content-type"] == "application/json"
    for name, value in responses.HEADERS.items():
        assert answer.headers[name] == value


def test_only_the_health_check_is_open() -> None:
    assert _ask(path="/api/health") is None
    for method, path in (
        ("POST", "/api/health"),
        ("HEAD", "/api/health"),
        ("GET", "/api/health/"),
        ("OPTIONS", "/api/status"),
    ):
        assert _ask(path=path, method=method) is not None, (method, path)


@pytest.mark.aws_fact
def test_the_function_is_small_enough() -> None:
    assert len(edge_code().encode()) < LONGEST_FUNCTION


@pytest.mark.aws_fact
def test_all_three_set_the_same_security_headers() -> None:
    """The function, API Gateway and CloudFront; API Gateway leaves the full policy to CloudFront."""
    assert responses.HEADERS["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert {
        **RESPONSE_HEADERS,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    } == responses.HEADERS
    assert not any("'" in value for value in RESPONSE_HEADERS.values()), "they stand in quotes themselves"
