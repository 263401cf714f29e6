"""Which AWS a command works on and with whose credentials: an account, or this checkout's local cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

from cli.errors import CommandError

_PATIENT = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=5, read_timeout=60)
_SIGN_IN = (
    "Sign in to AWS again, for instance with `aws sso login` or `aws configure`, or name a profile: "
    "--profile NAME."
)
_WRONG_CREDENTIALS = {
    "ExpiredToken": "The credentials have expired",
    "ExpiredTokenException": "The credentials have expired",
    "RequestExpired": "The credentials have expired",
    "InvalidClientTokenId": "AWS does not know these credentials",
    "UnrecognizedClientException": "AWS does not know these credentials",
    "AuthFailure": "AWS does not know these credentials",
    "SignatureDoesNotMatch": "The secret key does not fit its access key",
    "IncompleteSignature": "The credentials are incomplete",
}


@dataclass
class AwsTarget:
    """One account and region, as one identity."""

    session: boto3.Session
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of every client: where the local cloud answers."""
    account: str = ""
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def region(self) -> str:
        return str(self.session.region_name)

    @property
    def is_local(self) -> bool:
        return bool(self.options)

    @property
    def called(self) -> str:
        """What a person calls it."""
        if self.is_local:
            return "the local cloud of this checkout"
        return f"AWS account {self.account}, region {self.region}"

    def client(self, service: str) -> Any:
        """A client of a service, made once."""
        if service not in self._clients:
            self._clients[service] = self.session.client(  # type: ignore[call-overload]
                service, config=_PATIENT, **self.options
            )
        return self._clients[service]


def on_aws(profile: str, region: str) -> AwsTarget:
    """The account of the user's credentials. Raises `CommandError` if they are missing, wrong or expired."""
    with explained():
        session = boto3.Session(profile_name=profile or None, region_name=region or None)
        if not session.region_name:
            raise NoRegionError
        return _identified(AwsTarget(session))


def on_local_cloud(record: Mapping[str, Any]) -> AwsTarget:
    """The local cloud that `cloud.json` describes, as its administrator."""
    environment = record["environment"]
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    options = {"endpoint_url": environment["AWS_ENDPOINT_URL"], "verify": environment["AWS_CA_BUNDLE"]}
    with explained():
        return _identified(AwsTarget(session, options))


def app_name(checkout: Path, context: Sequence[str]) -> str:
    """The app's name: of ``-c name=NAME``, else of cdk.json.

    Raises:
        CommandError: neither says it.
    """
    given = dict(part.partition("=")[::2] for part in context)
    if unknown := sorted(set(given) - {"name"}):
        raise CommandError(
            f"-c {unknown[0]}=… has no meaning here.", "Only the app's name counts: -c name=NAME."
        )
    if given.get("name"):
        return given["name"]
    try:
        return str(json.loads((checkout / "cdk.json").read_text(encoding="utf-8"))["context"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"cdk.json does not say the app's name: {error}.", "Give it with -c name=NAME."
        ) from error


def _identified(target: AwsTarget) -> AwsTarget:
    target.account = target.client("sts").get_caller_identity()["Account"]
    return target


@contextmanager
def explained() -> Iterator[None]:
    """Turn what keeps every call from working into one sentence with its cure."""
    try:
        yield
    except ProfileNotFound as error:
        raise CommandError(f"{error}.", "`aws configure list-profiles` lists the profiles.") from error
    except NoRegionError as error:
        raise CommandError(
            "No AWS region is chosen.", "Name the one that you deployed to: --region us-east-1."
        ) from error
    except (
        NoCredentialsError,
        PartialCredentialsError,
        TokenRetrievalError,
        UnauthorizedSSOTokenError,
    ) as error:
        raise CommandError(f"There are no usable AWS credentials: {error}", _SIGN_IN) from error
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in _WRONG_CREDENTIALS:
            raise CommandError(f"{_WRONG_CREDENTIALS[code]} ({code}).", _SIGN_IN) from error
        raise CommandError(
            f"AWS refused {error.operation_name}: {code}: {message}",
            "Use credentials that may do this, or ask whoever manages the account.",
        ) from error
    except (EndpointConnectionError, ConnectionClosedError, HTTPClientError) as error:
        raise CommandError(
            f"AWS does not answer: {error}",
            "Check the network and run the command again: it goes on from there.",
        ) from error
    except BotoCoreError as error:
        raise CommandError(str(error), _SIGN_IN) from error
