"""Where Storyloom answers, and as whom: found once for every command.

A local cloud of this checkout is used while it is up. Otherwise the address and the refresh token that
``storyloom login`` kept are used. Signing in speaks Cognito's public API, as the page does; see
https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.errors import CommandError

LOCAL_STATE = Path(".local-cloud")
TIMEOUT = httpx.Timeout(30.0, connect=10.0)


@dataclass
class Connection:
    """A signed-in connection. `url` is the page's address, without a slash at its end."""

    url: str
    id_token: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.id_token}"}


def keep_file() -> Path:
    """The file that remembers a deployment, readable by its owner alone."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return base / "storyloom" / "connection.json"


def local_cloud_record(state: Path = LOCAL_STATE) -> dict[str, Any] | None:
    """What a running local cloud says of itself, or None where none has finished starting."""
    record = state / "cloud.json"
    if not record.exists():
        return None
    content: dict[str, Any] = json.loads(record.read_text())
    return content if content.get("url") and content.get("sign_in") else None


def connect(state: Path = LOCAL_STATE) -> Connection:
    """Signs in to the local cloud that is up in this checkout, else to the deployment of ``login``."""
    local = local_cloud_record(state)
    if local is not None:
        sign_in_words = local["sign_in"]
        return sign_in(local["url"], sign_in_words["email"], sign_in_words["password"])
    kept = keep_file()
    if not kept.exists():
        raise CommandError(
            "No Storyloom is known here.",
            "Start one on this machine with `make run`, or sign in to yours on AWS with "
            "`storyloom login https://YOUR-PAGE`.",
        )
    content = json.loads(kept.read_text())
    return _renew(content["url"], content["refresh_token"])


def sign_in(url: str, email: str, password: str) -> Connection:
    """Signs in with e-mail and password.

    Raises:
        CommandError: wrong e-mail or password, a first sign-in that still needs a new password, no answer.
    """
    answer = _authenticate(url, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    return Connection(url.rstrip("/"), answer["IdToken"])


def sign_in_and_keep(url: str, email: str, password: str) -> Path:
    """Signs in and keeps the refresh token (never the password); gives the file that holds it."""
    answer = _authenticate(url, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    kept = keep_file()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch(mode=0o600)
    kept.chmod(0o600)
    kept.write_text(json.dumps({"url": url.rstrip("/"), "refresh_token": answer["RefreshToken"]}))
    return kept


def _renew(url: str, refresh_token: str) -> Connection:
    answer = _authenticate(url, "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": refresh_token})
    return Connection(url, answer["IdToken"])


def _authenticate(url: str, flow: str, parameters: dict[str, str]) -> dict[str, str]:
    page = _page_config(url)
    body = {"AuthFlow": flow, "ClientId": page["user_pool_client_id"], "AuthParameters": parameters}
    try:
        response = httpx.post(
            page["cognito_endpoint"],
            content=json.dumps(body),
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
            },
            timeout=TIMEOUT,
        )
    except httpx.HTTPError as error:
        raise CommandError(f"The sign-in at {page['cognito_endpoint']} did not answer: {error}.") from error
    answer: dict[str, Any] = response.json()
    if response.status_code != httpx.codes.OK:
        raise CommandError(
            f"Not signed in: {answer.get('message', response.text)}",
            f"Check the e-mail and the password, or sign in again with `storyloom login {url}`.",
        )
    if "AuthenticationResult" not in answer:
        raise CommandError(
            "This is the first sign-in, and a new password has to be chosen.",
            f"Open {url} once, sign in there and choose one; then try this again.",
        )
    result: dict[str, str] = answer["AuthenticationResult"]
    return result


def _page_config(url: str) -> dict[str, str]:
    address = f"{url.rstrip('/')}/config.json"
    try:
        response = httpx.get(address, timeout=TIMEOUT)
        response.raise_for_status()
        config: dict[str, str] = response.json()
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise CommandError(
            f"No Storyloom page answers at {address}: {error}.",
            "Use the PageUrl that `cdk deploy` printed, or start one here with `make run`.",
        ) from error
    return config
