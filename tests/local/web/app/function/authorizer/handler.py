"""Lets a person in who brings an ID token of the pool: keys, issuer, audience and end are checked."""

import os
from typing import Any

import jwt

REGION = os.environ["AWS_REGION"]
ISSUER = f"https://cognito-idp.{REGION}.amazonaws.com/{os.environ['USER_POOL_ID']}"
BASE = os.environ.get("AWS_ENDPOINT_URL_COGNITO_IDP") or os.environ.get("AWS_ENDPOINT_URL")
KEYS = jwt.PyJWKClient(
    f"{BASE}/{os.environ['USER_POOL_ID']}/.well-known/jwks.json"
    if BASE
    else f"{ISSUER}/.well-known/jwks.json"
)


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in event["headers"].items()}
    token = headers.get("authorization", "").removeprefix("Bearer ")
    try:
        claims = jwt.decode(
            token,
            KEYS.get_signing_key_from_jwt(token).key,
            algorithms=["RS256"],
            issuer=ISSUER,
            audience=os.environ["USER_POOL_CLIENT_ID"],
            options={"require": ["exp", "iat", "aud", "iss"]},
        )
    except jwt.PyJWTError as error:
        print(f"refused: {error!r}")
        raise Exception("Unauthorized") from error
    api = "/".join(event["methodArn"].split("/")[:2])
    return {
        "principalId": claims["sub"],
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{api}/*"}],
        },
        "context": {"email": claims.get("email", ""), "use": claims["token_use"]},
    }
