"""People whom a real (local) Cognito signs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest

from authorizer import handler as authorizer
from authorizer import people_cache
from contracts.roles import ROLES

EMAIL = "writer@example.com"
_PASSWORD = "Correct-horse-7"


@dataclass(frozen=True)
class SignedIn:
    """Somebody who has signed in, and where."""

    pool: str
    client: str
    sub: str
    id_token: str
    access_token: str


@cache
def _cognito() -> Any:
    """Return the client of a person with patience: the functions' own gives up after three seconds."""
    return boto3.client("cognito-idp")


@contextmanager
def somebody(pool_name: str, *, hours: int = 1, role: str = "owner") -> Iterator[SignedIn]:
    """Make a pool with one person in it and sign them in; the authorizer takes its tokens meanwhile.

    Args:
        pool_name: of the new pool.
        hours: how long the ID token is valid.
        role: what the person may do.
    """
    cognito = _cognito()
    pool = cognito.create_user_pool(PoolName=pool_name, UsernameAttributes=["email"])["UserPool"]["Id"]
    for group in ROLES:
        cognito.create_group(UserPoolId=pool, GroupName=group)
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="page",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        IdTokenValidity=hours,
        TokenValidityUnits={"IdToken": "hours"},
    )["UserPoolClient"]["ClientId"]
    sub, tokens = join(pool, client, EMAIL, role)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORYLOOM_USER_POOL_ID", pool)
        patch.setenv("STORYLOOM_USER_POOL_CLIENT_ID", client)
        authorizer._key_client.cache_clear()
        people_cache.clear_cache()
        yield SignedIn(pool, client, sub, tokens["IdToken"], tokens["AccessToken"])


def join(pool: str, client: str, email: str, role: str) -> tuple[str, dict[str, str]]:
    """Make a person in a pool and sign them in; returns their id and Cognito's tokens."""
    cognito = _cognito()
    user = cognito.admin_create_user(
        UserPoolId=pool,
        Username=email,
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "email", "Value": email}],
    )["User"]
    cognito.admin_set_user_password(UserPoolId=pool, Username=email, Password=_PASSWORD, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName=role)
    answer = cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": _PASSWORD},
    )["AuthenticationResult"]
    return user["Username"], answer
