"""The authorizer, with tokens that a real (local) Cognito issued."""

import base64
import hmac
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, example, given, settings, strategies

from authorizer import handler as authorizer
from tests.unit.functions.conftest import DeployedResources
from tests.unit.functions.people import SignedIn, somebody

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/api/status"


@pytest.fixture
def person(resources: DeployedResources) -> Iterator[SignedIn]:
    """Somebody who has signed in."""
    with somebody(resources.table) as signed_in:
        yield signed_in


def _ask(header: str | None, context: LambdaContext) -> dict[str, Any]:
    headers = {} if header is None else {"authorization": header}
    return authorizer.handler({"type": "REQUEST", "methodArn": ARN, "headers": headers}, context)


def test_an_id_token_opens_the_whole_stage(person: SignedIn, context: LambdaContext) -> None:
    answer = _ask(f"Bearer {person.id_token}", context)
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/*"
    assert answer["context"]["email"] == "writer@example.com"
    assert answer["context"]["sub"] == answer["principalId"]


def _forged(claims: dict[str, Any]) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "ministack-key-1"})


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer not.a.token", "Basic d3JpdGVyOng="])
def test_no_token_is_unauthorized(header: str | None, person: SignedIn, context: LambdaContext) -> None:
    with pytest.raises(authorizer.Unauthorized, match=r"^Unauthorized$"):
        _ask(header, context)


def test_other_tokens_are_unauthorized(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = person.id_token
    claims = jwt.decode(genuine, options={"verify_signature": False})
    kid = jwt.get_unverified_header(genuine)["kid"]
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
    head, body, signature = genuine.split(".")
    spoiled = f"{head}.{body}.{signature[:-8]}AAAAAAAA"
    for token in (person.access_token, _forged(claims), unsigned, spoiled):
        with pytest.raises(authorizer.Unauthorized):
            _ask(f"Bearer {token}", context)
    monkeypatch.setenv("STORYLOOM_USER_POOL_CLIENT_ID", "another-client")
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {genuine}", context)


def test_a_token_signed_with_the_public_key_is_unauthorized(person: SignedIn, context: LambdaContext) -> None:
    claims = jwt.decode(person.id_token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(person.id_token)["kid"]
    pool_keys = authorizer._key_client(authorizer._issuer(person.pool))
    public = pool_keys.get_signing_key(kid).key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = ({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)
    said = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    signature = base64.urlsafe_b64encode(hmac.digest(public, said.encode(), "sha256")).rstrip(b"=").decode()
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {said}.{signature}", context)


# What is inside the dots is base64 of anything, or not even that.
_PARTS = strategies.text(strategies.characters(codec="ascii"), max_size=40) | strategies.binary(
    max_size=60
).map(lambda part: base64.urlsafe_b64encode(part).decode())
_DEEP = base64.urlsafe_b64encode(b"[" * 6000).decode()


@given(parts=strategies.lists(_PARTS, min_size=1, max_size=4), prefix=strategies.sampled_from(["", "sl-"]))
@example(parts=[_DEEP, "e30", "x"], prefix="")
@example(parts=["eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ", _DEEP, "x"], prefix="")
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_as_a_token_is_unauthorized_and_no_failure(
    person: SignedIn, context: LambdaContext, parts: list[str], prefix: str
) -> None:
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {prefix}{'.'.join(parts)}", context)


def test_an_expired_token_is_unauthorized(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires = jwt.decode(person.id_token, options={"verify_signature": False})["exp"]
    late = expires - time.time() + 60

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(seconds=late)

    monkeypatch.setattr("jwt.api_jwt.datetime", Later)
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {person.id_token}", context)


def test_unreachable_keys_are_not_the_callers_fault(
    person: SignedIn, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    authorizer._key_client.cache_clear()
    with pytest.raises(jwt.PyJWKClientConnectionError):
        _ask(f"Bearer {person.id_token}", context)
