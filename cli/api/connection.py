"""Which Storyloom a command talks to, and the sign-in there.

While the local cloud of this checkout is up, it is used. Otherwise the address and the refresh token that
``storyloom login`` kept are used, with the address of the sign-in that issued the token: the token is sent
nowhere else, whatever is in the page's config.json later. Signing in uses Cognito's public API, as the page
does; see https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html

Anybody can put a `.local-cloud/cloud.json` into a folder that somebody else will work in. So only the
checkout of this command is looked at, and its file counts only if it is the user's own and names a running
process of this cloud.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.api.addresses import is_loopback, page_address, sign_in_endpoint, use_proxies
from cli.console import CommandError
from cli.user_files import CHECKOUT, LOCAL_STATE, config_folder
from local.aws import private_file
from local.cloud import LocalCloud

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_RECORD = "cloud.json"


@dataclass
class Connection:
    """A signed-in connection. `url` is the page's address, without a slash at its end."""

    url: str
    id_token: str
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {"Authorization": f"Bearer {self.id_token}"}


def keep_file() -> Path:
    """Return the file that holds the sign-in at a deployment, readable by its owner alone."""
    return config_folder() / "connection.json"


@dataclass(frozen=True)
class SignInEndpoint:
    """The sign-in of one page: a token that it issued is sent to no other."""

    url: str
    endpoint: str
    client_id: str


def connect(state: Path = LOCAL_STATE) -> Connection:
    """Sign in to the local cloud of this checkout if it is up, else to the deployment of ``login``."""
    local = local_cloud_record(state)
    if local is not None:
        person = local["sign_in"]
        return sign_in(local["url"], person["email"], person["password"])
    try:
        kept = json.loads(private_file.read_private_file(keep_file()))
    except FileNotFoundError:
        raise CommandError(
            "No local cloud is running, and you are not signed in to a Storyloom on AWS.",
            "Start one on this machine with `make run`, or sign in to yours on AWS with "
            "`storyloom login https://YOUR-PAGE`.",
        ) from None
    return _renew(kept)


def sign_in(url: str, email: str, password: str) -> Connection:
    """Sign in with e-mail and password.

    Raises:
        CommandError: wrong e-mail or password, a first sign-in that still needs a new password, no answer, or
            an address that a password is not sent to.
    """
    page_sign_in = _find_sign_in(url)
    answer = _authenticate(page_sign_in, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    return Connection(page_sign_in.url, answer["IdToken"])


def sign_in_and_keep(url: str, email: str, password: str) -> Path:
    """Sign in and keep the refresh token (never the password); return the file that holds it."""
    page_sign_in = _find_sign_in(url)
    answer = _authenticate(page_sign_in, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    kept = keep_file()
    private_file.write_private_file(
        kept, json.dumps({**asdict(page_sign_in), "refresh_token": answer["RefreshToken"]})
    )
    return kept


def _renew(kept: dict[str, str]) -> Connection:
    """Sign in again with the kept token, at the sign-in that issued it and nowhere else."""
    url = page_address(kept["url"])
    if "endpoint" not in kept:
        raise CommandError(
            "Your sign-in was stored by an older Storyloom, without the address that it belongs to.",
            f"Sign in once more: storyloom login {url}",
        )
    region = kept["endpoint"].partition("cognito-idp.")[2].partition(".")[0]
    page_sign_in = SignInEndpoint(url, sign_in_endpoint(url, kept["endpoint"], region), kept["client_id"])
    answer = _authenticate(page_sign_in, "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": kept["refresh_token"]})
    return Connection(url, answer["IdToken"])


def _authenticate(page_sign_in: SignInEndpoint, flow: str, parameters: dict[str, str]) -> dict[str, str]:
    body = {"AuthFlow": flow, "ClientId": page_sign_in.client_id, "AuthParameters": parameters}
    try:
        response = httpx.post(
            page_sign_in.endpoint,
            content=json.dumps(body),
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
            },
            timeout=TIMEOUT,
            trust_env=use_proxies(page_sign_in.endpoint),
        )
        answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"The sign-in at {page_sign_in.endpoint} did not answer: {error}.") from error
    if response.status_code != httpx.codes.OK:
        raise CommandError(
            f"Not signed in: {answer.get('message', response.text)}",
            f"Check the e-mail and the password, or sign in again with `storyloom login {page_sign_in.url}`.",
        )
    if "AuthenticationResult" not in answer:
        raise CommandError(
            "This is the first sign-in, and a new password has to be chosen.",
            f"Open {page_sign_in.url} once, sign in there and choose one; then try this again.",
        )
    result: dict[str, str] = answer["AuthenticationResult"]
    return result


def _find_sign_in(given: str) -> SignInEndpoint:
    """Read a page's config.json for its sign-in, and refuse one that does not belong to the page."""
    url = page_address(given)
    address = f"{url}/config.json"
    try:
        response = httpx.get(address, timeout=TIMEOUT, trust_env=use_proxies(url))
        response.raise_for_status()
        config = response.json()
        endpoint, client = config["cognito_endpoint"], str(config["user_pool_client_id"])
        region = config.get("region")
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"No Storyloom page answers at {address}: {error}.",
            "Use the PageUrl that `cdk deploy` printed, or start one here with `make run`.",
        ) from error
    return SignInEndpoint(url, sign_in_endpoint(url, endpoint, region), client)


def local_cloud_record(state: Path = LOCAL_STATE) -> dict[str, Any] | None:
    """Return the description of the running local cloud in `state`; None if none was started.

    A relative folder is one of this checkout.

    Raises:
        CommandError: the current folder has a record of another checkout, the local cloud is still starting
            or no longer runs, or its record names another machine.
        LocalCloudError: the record is not a file of the user's own.
    """
    folder = CHECKOUT / state
    _refuse_foreign(Path.cwd() / state / _RECORD, folder / _RECORD)
    cloud = LocalCloud(CHECKOUT, folder)
    record = cloud.description()
    if not record:
        return None
    if not cloud.is_supervised():
        raise CommandError(
            f"The local cloud of {CHECKOUT} is not running any more, but it was not stopped either.",
            "Remove what it left with `storyloom local down`; after that, the deployment that you signed in "
            "to is used. `make run` starts a new local cloud.",
        )
    if not (record.get("url") and record.get("sign_in")):
        raise CommandError(
            f"The local cloud of {CHECKOUT} is still starting.", "Try again when it has printed its address."
        )
    if not is_loopback(page_address(str(record["url"]))):
        raise CommandError(
            f"{folder / _RECORD} names another machine: {record['url']!r}. Nothing was sent there.",
            "Remove it with `storyloom local down`.",
        )
    return record


def _refuse_foreign(found: Path, own: Path) -> None:
    """Refuse to continue if the current folder has another checkout's local cloud: either may be meant."""
    if (found.exists() or found.is_symlink()) and found.resolve() != own.resolve():
        raise CommandError(
            f"{found} is not of the checkout that this command belongs to ({CHECKOUT}), so it is not used. "
            "Nothing was sent.",
            "If it is another local cloud of yours, use the `storyloom` of that checkout. If you do not know "
            "it, delete it, or run this in another folder.",
        )
