"""API Gateway's authorizer: checks Cognito ID tokens and API keys, and returns the caller's identity."""

import os
import ssl
from functools import cache
from typing import Any

import jwt
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from authorizer import people_cache
from contracts import environment
from shared.accounts import keys

log = Logger(service="authorizer")

_LEEWAY_SECONDS = 30
_MODEL_ROUTES = "/POST/api/v1/"
"""A part of the ARN of the methods that send a request to the model."""


class Unauthorized(Exception):  # noqa: N818 - API Gateway answers 401 to exactly this message
    """The token or key is missing, expired, revoked or not ours, or its person has been removed."""


@log.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check a REQUEST authorizer's bearer token.

    Returns:
        A policy for every route of the stage, so that API Gateway may cache it for the token's other
        requests, and `context` with `sub`, `username`, `email` and `scopes`, a person's `role` and a key's
        `requests_per_minute`.

    Raises:
        Unauthorized: API Gateway turns it into 401; the reason is logged, without the token.
    """
    method_arn = event["methodArn"]
    try:
        token = _bearer_token(event.get("headers") or {})
        caller = _identify(token, latency_sensitive=_MODEL_ROUTES in method_arn)
    except jwt.PyJWKClientConnectionError:
        # Not the caller's fault, and a 401 would sign everybody out.
        raise
    except jwt.PyJWTError as error:
        log.info("Refused a token", extra={"reason": str(error)})
        raise Unauthorized("Unauthorized") from None
    return {
        "principalId": caller["sub"],
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": _stage_arn(method_arn),
                }
            ],
        },
        "context": caller,
    }


def _identify(bearer: str, *, latency_sensitive: bool) -> dict[str, str]:
    """Identify a program by its key, or a person by their ID token."""
    if bearer.startswith(keys.PREFIX):
        return _program_identity(bearer, latency_sensitive=latency_sensitive)
    return _person_identity(verify_id_token(bearer), latency_sensitive=latency_sensitive)


def _program_identity(text: str, *, latency_sensitive: bool) -> dict[str, str]:
    key = keys.authenticate(text)
    if key is None:
        raise jwt.InvalidTokenError("not a valid key")
    creator = people_cache.current_person(key.created_by, latency_sensitive=latency_sensitive)
    if creator is None:
        raise jwt.InvalidTokenError("the person who created the key has been removed")
    return {
        "sub": f"key:{key.key_id}",
        "made_by": key.created_by,
        "username": key.name,
        "email": creator.email or key.created_by_email,
        # A key never has more scopes than its creator has now.
        "scopes": " ".join(scope for scope in key.scopes if scope in creator.scopes),
        "requests_per_minute": str(key.requests_per_minute),
    }


def _person_identity(claims: dict[str, Any], *, latency_sensitive: bool) -> dict[str, str]:
    person = people_cache.current_person(claims["sub"], latency_sensitive=latency_sensitive)
    if person is None:
        raise jwt.InvalidTokenError("the person has been removed")
    return {
        "sub": person.sub,
        "username": claims.get("cognito:username", person.sub),
        "email": person.email,
        "role": person.role or "",
        "scopes": " ".join(person.scopes),
    }


def verify_id_token(token: str) -> dict[str, Any]:
    """Check the signature (RS256), issuer, audience, expiry and use of an ID token.

    Returns:
        Its claims.

    Raises:
        jwt.PyJWTError: one of them is invalid.
    """
    sign_in = environment.read(environment.AcceptedTokens)
    key = _key_client(_issuer(sign_in.user_pool_id)).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        audience=sign_in.user_pool_client_id,
        issuer=_issuer(sign_in.user_pool_id),
        leeway=_LEEWAY_SECONDS,
        options={"require": ["exp", "iat", "iss", "aud", "sub"]},
    )
    if claims.get("token_use") != "id":
        raise jwt.InvalidTokenError("not an ID token")
    return claims


def _bearer_token(headers: dict[str, str]) -> str:
    value = next((text for name, text in headers.items() if name.lower() == "authorization"), "")
    kind, _, token = value.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise jwt.InvalidTokenError("no bearer token")
    return token.strip()


def _issuer(pool: str) -> str:
    region = pool.partition("_")[0]
    return f"https://cognito-idp.{region}.amazonaws.com/{pool}"


@cache
def _key_client(issuer: str) -> jwt.PyJWKClient:
    """Create the client of the pool's public keys, which caches them between calls."""
    # On one machine Cognito has the endpoint of AWS's own variable, with the same path; the issuer in the
    # tokens stays the real one.
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    url = f"{endpoint.rstrip('/')}/{issuer.rpartition('/')[2]}" if endpoint else issuer
    trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    return jwt.PyJWKClient(f"{url}/.well-known/jwks.json", ssl_context=trust, timeout=5)


def _stage_arn(method_arn: str) -> str:
    # arn:aws:execute-api:region:account:api/stage/METHOD/path -> …:api/stage/*
    api, stage = method_arn.split("/")[:2]
    return f"{api}/{stage}/*"
