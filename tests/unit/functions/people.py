"""People whom a real (local) Cognito signs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from authorizer import handler as authorizer

EMAIL = "writer@example.com"
_PASSWORD = "Correct-horse-7"


@dataclass(frozen=True)
class SignedIn:
    """Somebody who has signed in, and where."""

    pool: str
    client: str
    id_token: str
    access_token: str


@contextmanager
def somebody(pool_name: str, *, hours: int = 1) -> Iterator[SignedIn]:
    """Make a pool with one person in it and sign them in; the authorizer takes its tokens meanwhile.

    Args:
        pool_name: of the new pool.
        hours: how long the ID token is valid.
    """
    cognito: Any = boto3.client("cognito-idp")
    pool = cognito.create_user_pool(PoolName=pool_name)["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="page",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        IdTokenValidity=hours,
        TokenValidityUnits={"IdToken": "hours"},
    )["UserPoolClient"]["ClientId"]
    email = {"Name": "email", "Value": EMAIL}
    cognito.admin_create_user(UserPoolId=pool, Username="writer", UserAttributes=[email])
    cognito.admin_set_user_password(UserPoolId=pool, Username="writer", Password=_PASSWORD, Permanent=True)
    answer = cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "writer", "PASSWORD": _PASSWORD},
    )["AuthenticationResult"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORYLOOM_USER_POOL_ID", pool)
        patch.setenv("STORYLOOM_USER_POOL_CLIENT_ID", client)
        authorizer._keys.cache_clear()
        yield SignedIn(pool, client, answer["IdToken"], answer["AccessToken"])
