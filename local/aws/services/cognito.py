"""Cognito: mail that stays on this machine, and the attributes that a user may change.

MiniStack resets every password with the same code, which anybody on this machine could know. Here a code is
random, as on AWS, and only a user who may read the state folder can read the mail that has it.

MiniStack lets users write every attribute. On AWS a user pool client without `WriteAttributes` lets them
write every standard attribute of their own, their e-mail too; an empty list is the same as none.
https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UserPoolClientType.html
"""

import base64
import binascii
import json
import os
import secrets
from pathlib import Path
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cognito

from local.aws.cloud_environment import CloudFolders

TRIES = 5
"""After so many wrong codes the right one is refused too."""
_STANDARD = frozenset(
    (
        *("address", "birthdate", "email", "family_name", "gender", "given_name", "locale", "middle_name"),
        *("name", "nickname", "phone_number", "picture", "preferred_username", "profile", "updated_at"),
        *("website", "zoneinfo"),
    )
)
_CHALLENGE_PREFIX = "userAttributes."


def install() -> None:
    """Change Cognito in this process's MiniStack."""
    _write_mail_to_files()
    _check_written_attributes()


def _write_mail_to_files() -> None:
    """Write mail into the state folder: no mail leaves this machine."""
    _send, _deliver, _check = (
        cognito._send_verification_email,
        cognito._deliver_cognito_email,
        cognito._confirmation_code_error,
    )
    folder = CloudFolders.of_this_cloud().mail

    def send(pool: Any, username: str, attributes: Any, code: str, attribute_name: str = "email") -> Any:
        user, _ = cognito._resolve_user(pool, username)
        if attribute_name == "password" and user:
            code = f"{secrets.randbelow(10**6):06}"
            user.update(_reset_code=code, _reset_tries=0)
        return _send(pool, username, attributes, code, attribute_name)

    def deliver(pool: Any, to: str, subject: str, body: str, *rest: Any, **named: Any) -> Any:
        if to:
            _write(folder, f"To: {to}\nSubject: {subject}\n\n{body}\n")
        return _deliver(pool, to, subject, body, *rest, **named)

    def check(action: str, given: Any) -> Any:
        wrong = _check(action, given)
        if wrong and action == "ConfirmForgotPassword":
            _count_a_try(given)
        return wrong

    cognito._send_verification_email = send
    cognito._deliver_cognito_email = deliver
    cognito._confirmation_code_error = check


def _count_a_try(given: Any) -> None:
    pool, _ = cognito._pool_for_client(given.get("ClientId"))
    user, _ = cognito._resolve_user(pool, given.get("Username"))
    user["_reset_tries"] = user.get("_reset_tries", 0) + 1
    if user["_reset_tries"] >= TRIES:
        user.pop("_reset_code", None)


def _write(folder: Path, text: str) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    number = 1 + max((int(mail.stem) for mail in folder.glob("*.txt")), default=0)
    mail = folder / f"{number:04}.txt"
    with os.fdopen(os.open(mail, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
        opened.write(text)


def _check_written_attributes() -> None:
    """Refuse attributes that a client may not write."""
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
