"""The authorizer, with tokens that a real (local) Cognito issued."""

import os
import time
from datetime import datetime, timedelta
from typing import Any

import boto3
import jwt
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from cryptography.hazmat.primitives.asymmetric import rsa

from authorizer import handler as authorizer
from tests.unit.functions.conftest import House

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/GET/api/status"
PASSWORD = "Correct-horse-7"


@pytest.fixture
def tokens(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sign somebody in; returns Cognito's tokens."""
    cognito = boto3.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName=house.table)["UserPool"]["Id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="page",
        ExplicitAuthFlows=flows,  # type: ignore[arg-type]
    )["UserPoolClient"]["ClientId"]
    email = {"Name": "email", "Value": "writer@example.com"}
    cognito.admin_create_user(UserPoolId=pool, Username="writer", UserAttributes=[email])  # type: ignore[list-item]
    cognito.admin_set_user_password(UserPoolId=pool, Username="writer", Password=PASSWORD, Permanent=True)
    monkeypatch.setenv("STORYLOOM_USER_POOL_ID", pool)
    monkeypatch.setenv("STORYLOOM_USER_POOL_CLIENT_ID", client)
    authorizer._keys.cache_clear()
    answer: Any = cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "writer", "PASSWORD": PASSWORD},
    )
    return dict(answer["AuthenticationResult"])


def _ask(header: str | None, context: LambdaContext) -> dict[str, Any]:
    headers = {} if header is None else {"authorization": header}
    return authorizer.handler({"type": "REQUEST", "methodArn": ARN, "headers": headers}, context)


def test_an_id_token_opens_the_whole_stage(tokens: dict[str, str], context: LambdaContext) -> None:
    answer = _ask(f"Bearer {tokens['IdToken']}", context)
    (statement,) = answer["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == "arn:aws:execute-api:us-east-1:123456789012:abc123/prod/*"
    assert answer["context"]["email"] == "writer@example.com"
    assert answer["context"]["sub"] == answer["principalId"]


def _forged(claims: dict[str, Any]) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "ministack-key-1"})


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer not.a.token", "Basic d3JpdGVyOng="])
def test_no_token_is_unauthorized(header: str | None, tokens: dict[str, str], context: LambdaContext) -> None:
    with pytest.raises(authorizer.Unauthorized, match=r"^Unauthorized$"):
        _ask(header, context)


def test_other_tokens_are_unauthorized(
    tokens: dict[str, str], context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = tokens["IdToken"]
    claims = jwt.decode(genuine, options={"verify_signature": False})
    kid = jwt.get_unverified_header(genuine)["kid"]
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
    head, body, signature = genuine.split(".")
    spoiled = f"{head}.{body}.{signature[:-8]}AAAAAAAA"
    for token in (tokens["AccessToken"], _forged(claims), unsigned, spoiled):
        with pytest.raises(authorizer.Unauthorized):
            _ask(f"Bearer {token}", context)
    monkeypatch.setenv("STORYLOOM_USER_POOL_CLIENT_ID", "another-client")
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {genuine}", context)


def test_an_expired_token_is_unauthorized(
    tokens: dict[str, str], context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires = jwt.decode(tokens["IdToken"], options={"verify_signature": False})["exp"]
    late = expires - time.time() + 60

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(seconds=late)

    monkeypatch.setattr("jwt.api_jwt.datetime", Later)
    with pytest.raises(authorizer.Unauthorized):
        _ask(f"Bearer {tokens['IdToken']}", context)


def test_unreachable_keys_are_not_the_callers_fault(
    tokens: dict[str, str], context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    authorizer._keys.cache_clear()
    with pytest.raises(jwt.PyJWKClientConnectionError):
        _ask(f"Bearer {tokens['IdToken']}", context)
