"""Where Storyloom answers, and as whom: found once for every command.

A local cloud of this checkout is used while it is up. Otherwise the address and the refresh token that
``storyloom login`` kept are used, with the address of the sign-in that gave the token: it goes nowhere else,
whatever the page's config.json says later. Signing in speaks Cognito's public API, as the page does; see
https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_InitiateAuth.html
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from cli.addresses import page_address, sign_in_endpoint, use_proxies
from cli.errors import CommandError
from cli.local_record import LOCAL_STATE, local_cloud_record
from cli.user_folders import config_folder
from local.aws import private_file

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
    return config_folder() / "connection.json"


@dataclass(frozen=True)
class SignIn:
    """Where people of one page sign in: a token that it gave is sent to no other."""

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
            "No Storyloom is known here.",
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
    place = _find_sign_in(url)
    answer = _authenticate(place, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    return Connection(place.url, answer["IdToken"])


def sign_in_and_keep(url: str, email: str, password: str) -> Path:
    """Sign in and keep the refresh token (never the password); return the file that holds it."""
    place = _find_sign_in(url)
    answer = _authenticate(place, "USER_PASSWORD_AUTH", {"USERNAME": email, "PASSWORD": password})
    kept = keep_file()
    private_file.write_private_file(
        kept, json.dumps({**asdict(place), "refresh_token": answer["RefreshToken"]})
    )
    return kept


def _renew(kept: dict[str, str]) -> Connection:
    """Sign in anew where the kept token came from, and nowhere else."""
    url = page_address(kept["url"])
    if "endpoint" not in kept:
        raise CommandError(
            "Your sign-in was kept by an older Storyloom, without the address that it belongs to.",
            f"Sign in once more: storyloom login {url}",
        )
    region = kept["endpoint"].partition("cognito-idp.")[2].partition(".")[0]
    place = SignIn(url, sign_in_endpoint(url, kept["endpoint"], region), kept["client_id"])
    answer = _authenticate(place, "REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": kept["refresh_token"]})
    return Connection(url, answer["IdToken"])


def _authenticate(place: SignIn, flow: str, parameters: dict[str, str]) -> dict[str, str]:
    body = {"AuthFlow": flow, "ClientId": place.client_id, "AuthParameters": parameters}
    try:
        response = httpx.post(
            place.endpoint,
            content=json.dumps(body),
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
            },
            timeout=TIMEOUT,
            trust_env=use_proxies(place.endpoint),
        )
        answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommandError(f"The sign-in at {place.endpoint} did not answer: {error}.") from error
    if response.status_code != httpx.codes.OK:
        raise CommandError(
            f"Not signed in: {answer.get('message', response.text)}",
            f"Check the e-mail and the password, or sign in again with `storyloom login {place.url}`.",
        )
    if "AuthenticationResult" not in answer:
        raise CommandError(
            "This is the first sign-in, and a new password has to be chosen.",
            f"Open {place.url} once, sign in there and choose one; then try this again.",
        )
    result: dict[str, str] = answer["AuthenticationResult"]
    return result


def _find_sign_in(given: str) -> SignIn:
    """Read from a page where its people sign in, and refuse what is not a sign-in of its own."""
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
    return SignIn(url, sign_in_endpoint(url, endpoint, region), client)
