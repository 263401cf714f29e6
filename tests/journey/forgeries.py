"""Sign-ins and keys that must open nothing, made as well as a forger could make them and better.

Some are signed with the pool's own private key, which the local Cognito keeps in a file: what is wrong with
such a token is one claim and nothing else.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.journey.deployed_app import Deployed

Headers = dict[str, str]
_LEEWAY_S = 30
"""For this long after its end the authorizer still takes a token: clocks differ."""


@dataclass(frozen=True)
class Person:
    """Somebody who may sign in, with the tokens that Cognito gave them, and the key that signs such."""

    id_token: str
    access_token: str
    key: rsa.RSAPrivateKey

    @property
    def claims(self) -> dict[str, Any]:
        return jwt.decode(self.id_token, options={"verify_signature": False})

    @property
    def key_id(self) -> str:
        return str(jwt.get_unverified_header(self.id_token)["kid"])

    def signed(self, **changes: Any) -> str:
        """An ID token signed by the pool, with some claims changed; None leaves a claim out."""
        claims = {name: value for name, value in (self.claims | changes).items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.key_id})


@contextmanager
def person(deployed: Deployed, role: str = "owner") -> Iterator[Person]:
    """Somebody new in the deployed pool; they may be removed meanwhile."""
    pool, client = deployed.outputs["UserPoolId"], deployed.outputs["UserPoolClientId"]
    name = f"p{secrets.token_hex(4)}@example.com"
    tokens = _signed_up(deployed, pool, client, name, role)
    (pem,) = deployed.cloud.state.rglob(f"cognito-pool-keys/{pool}-id.pem")
    key = serialization.load_pem_private_key(pem.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    try:
        yield Person(tokens["IdToken"], tokens["AccessToken"], key)
    finally:
        cognito = deployed.client("cognito-idp")
        with suppress(cognito.exceptions.UserNotFoundException):
            cognito.admin_delete_user(UserPoolId=pool, Username=name)


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def forged(deployed: Deployed, somebody: Person) -> Iterator[dict[str, Headers]]:
    """Everything that nobody may come in with, by what is wrong with it."""
    keys = [deployed.api.create_key(name, ["chat", "read", "write"], 60) for name in ("a", "b", "c")]
    deployed.api.revoke_key(keys[0]["key_id"])
    yield {
        "nothing": {},
        "another scheme": {"Authorization": f"Basic {somebody.id_token}"},
        # API Gateway alone says who asks: what a client says of it is not heard.
        "a context of one's own": {"x-amzn-request-context": json.dumps({"authorizer": _owner()})},
        **{name: bearer(token) for name, token in _tokens(deployed, somebody).items()},
        **{name: bearer(text) for name, text in _keys(*(key["key"] for key in keys)).items()},
    }
    for key in keys:
        deployed.api.revoke_key(key["key_id"])


def _owner() -> dict[str, str]:
    return {"sub": "owner", "scopes": "chat read write keys"}


def _tokens(deployed: Deployed, somebody: Person) -> dict[str, str]:
    now = int(time.time())
    head, body, signature = somebody.id_token.split(".")
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elsewhere = f"{somebody.claims['iss']}x"
    return {
        "an expired token": somebody.signed(iat=now - 3600, exp=now - _LEEWAY_S - 1),
        "a token without end": somebody.signed(exp=None),
        "a token of another app": _of_another_app(deployed),
        "a token for another audience": somebody.signed(aud="another-app"),
        "a token of another pool": _of_another_pool(deployed),
        "a token of another issuer": somebody.signed(iss=elsewhere),
        "an access token": somebody.access_token,
        "an access token in an ID token's clothes": somebody.signed(token_use="access"),
        "a token that nobody signed": _unsigned(somebody),
        "a tampered signature": f"{head}.{body}.{_flipped(signature)}",
        "no signature": f"{head}.{body}.",
        "a tampered payload": f"{head}.{_encoded(somebody.claims | {'sub': 'owner'})}.{signature}",
        "a key of one's own under the pool's name": jwt.encode(
            somebody.claims, own, algorithm="RS256", headers={"kid": somebody.key_id}
        ),
        "a key of one's own in the token": _with_its_key(somebody, own),
        "the public key as a secret": _confused(somebody),
    }


def _keys(revoked: str, good: str, other: str) -> dict[str, str]:
    prefix, key_id, secret = good.split("-", 2)
    return {
        "a revoked key": revoked,
        "a key with an unknown id": f"{prefix}-{secrets.token_hex(6)}-{secret}",
        "a key with another's secret": f"{prefix}-{key_id}-{other.split('-', 2)[2]}",
        "a key cut short": good[:-1],
    }


def _flipped(signature: str) -> str:
    return ("B" if signature[0] == "A" else "A") + signature[1:]


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _unsigned(somebody: Person) -> str:
    return jwt.encode(somebody.claims, "", algorithm="none", headers={"kid": somebody.key_id})


def _with_its_key(somebody: Person, own: rsa.RSAPrivateKey) -> str:
    """Signed with a key that the token brings along, under a name that the pool does not know."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key(), as_dict=True) | {"kid": "own", "use": "sig"}
    return jwt.encode(somebody.claims, own, algorithm="RS256", headers={"kid": "own", "jwk": public})


def _confused(somebody: Person) -> str:
    """HS256 with the public key, which everybody has, as the secret."""
    public = somebody.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = _encoded(somebody.claims)
    head = _encoded({"alg": "HS256", "typ": "JWT", "kid": somebody.key_id})
    # PyJWT itself refuses to sign with a key that looks public.
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(f"{head}.{claims}".encode(), public)
    return f"{head}.{claims}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _of_another_app(deployed: Deployed) -> str:
    pool, cognito = deployed.outputs["UserPoolId"], deployed.client("cognito-idp")
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="another", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    name = f"p{secrets.token_hex(4)}@example.com"
    try:
        return _signed_up(deployed, pool, client, name)["IdToken"]
    finally:
        cognito.admin_delete_user(UserPoolId=pool, Username=name)
        cognito.delete_user_pool_client(UserPoolId=pool, ClientId=client)


def _of_another_pool(deployed: Deployed) -> str:
    cognito = deployed.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName="another")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="page", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    try:
        return _signed_up(deployed, pool, client, "somebody@example.com")["IdToken"]
    finally:
        cognito.delete_user_pool(UserPoolId=pool)


def _signed_up(deployed: Deployed, pool: str, client: str, name: str, role: str = "") -> dict[str, str]:
    """Make a person in a pool and sign them in; returns Cognito's tokens."""
    cognito, password = deployed.client("cognito-idp"), f"{secrets.token_urlsafe(12)}-aA1"
    cognito.admin_create_user(UserPoolId=pool, Username=name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
    if role:
        cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=role)
    answer = cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": password},
    )
    tokens: dict[str, str] = answer["AuthenticationResult"]
    return tokens
