"""Limits which attributes a person may write in Cognito: MiniStack limits none.

A user pool client without `WriteAttributes` lets people write every standard attribute of their own, their
e-mail too; an empty list is the same as none.
https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UserPoolClientType.html
"""

import base64
import binascii
import json
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cognito

_STANDARD = frozenset(
    (
        *("address", "birthdate", "email", "family_name", "gender", "given_name", "locale", "middle_name"),
        *("name", "nickname", "phone_number", "picture", "preferred_username", "profile", "updated_at"),
        *("website", "zoneinfo"),
    )
)
_CHALLENGE_PREFIX = "userAttributes."


def install() -> None:
    """Add it to the MiniStack of this process."""
    update, respond = cognito._update_user_attributes, cognito._respond_to_auth_challenge

    def update_attributes(data: dict[str, Any]) -> Any:
        names = {attribute["Name"] for attribute in data.get("UserAttributes", [])}
        return _refusal(_client_of(data.get("AccessToken", "")), names) or update(data)

    def respond_to_challenge(data: dict[str, Any]) -> Any:
        answers = data.get("ChallengeResponses") or {}
        names = {
            name.removeprefix(_CHALLENGE_PREFIX) for name in answers if name.startswith(_CHALLENGE_PREFIX)
        }
        return _refusal(_client(str(data.get("ClientId"))), names) or respond(data)

    cognito._update_user_attributes = update_attributes
    cognito._respond_to_auth_challenge = respond_to_challenge


def _refusal(client: dict[str, Any] | None, names: set[str]) -> Any:
    """Return an error if a person may not write one of these attributes through a client, else None."""
    if client is None or names <= (set(client.get("WriteAttributes") or ()) or _STANDARD):
        return None
    return error_response_json(
        "NotAuthorizedException", "A client attempted to write unauthorized attribute", 400
    )


def _client(client_id: str) -> dict[str, Any] | None:
    pools = cognito._user_pools.values()
    return next((pool["_clients"][client_id] for pool in pools if client_id in pool["_clients"]), None)


def _client_of(access_token: str) -> dict[str, Any] | None:
    """Return the client that a token was made for; MiniStack checks whether it is valid."""
    try:
        body = access_token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError, binascii.Error):
        return None
    return _client(str(claims.get("client_id")))
