"""The AWS account that a command works on, with credentials and region: a real one, or the local cloud."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError, ProfileNotFound

from cli.aws.context import ContextError, read_context
from cli.aws.credential_problems import credential_problem, unknown_profile
from cli.console import CommandError
from local.cloud import LocalCloud

REGION_VARIABLES = ("AWS_REGION", "AMAZON_REGION", "AWS_DEFAULT_REGION", "AMAZON_DEFAULT_REGION")
"""The variables that the CDK CLI reads, in its order; boto3 reads only the third."""
CDK_DEFAULT_REGION = "us-east-1"
"""The region that the CDK CLI takes if none is set."""
_RETRYING = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=5, read_timeout=60)


def configured_region(given: str, session: boto3.Session) -> str:
    """Return the given region, else that of the environment or of the profile; empty if none is set.

    It is the region that `cdk deploy` takes, so that every command looks at the deployed app.
    """
    of_environment = next(filter(None, map(os.environ.get, REGION_VARIABLES)), "")
    return given or of_environment or session.region_name or ""


@dataclass
class AwsTarget:
    """One account and region, with the credentials to use there."""

    session: boto3.Session
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of every client: address and certificate of the local cloud; empty for AWS."""
    account: str = ""
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def region(self) -> str:
        """Return the region's name."""
        return str(self.session.region_name)

    @property
    def is_local(self) -> bool:
        """Tell whether it is the local cloud."""
        return bool(self.options)

    @property
    def description(self) -> str:
        """Return how messages name it."""
        if self.is_local:
            return "the local cloud of this checkout"
        return f"AWS account {self.account}, region {self.region}"

    def client(self, service: str) -> Any:
        """Return the client of a service; each is made once."""
        if service not in self._clients:
            self._clients[service] = self.session.client(  # type: ignore[call-overload]
                service, config=_RETRYING, **self.options
            )
        return self._clients[service]


def chosen_target(checkout: Path, state: Path, profile: str, region: str) -> AwsTarget:
    """Choose the checkout's local cloud if it is up and neither profile nor region is given, else AWS."""
    if not profile and not region:
        record = LocalCloud(checkout, checkout / state).status()
        if record["running"]:
            return on_local_cloud(record)
    return on_aws(profile, region)


def on_aws(profile: str, region: str) -> AwsTarget:
    """Return the account of the user's credentials.

    Raises:
        CommandError: the credentials are missing, wrong or expired, or no region is named.
    """
    with aws_errors_explained():
        configured = configured_region(region, boto3.Session(profile_name=profile or None))
        if not configured:
            raise NoRegionError
        session = boto3.Session(profile_name=profile or None, region_name=configured)
        return _identified(AwsTarget(session))


def on_local_cloud(record: Mapping[str, Any]) -> AwsTarget:
    """Return the local cloud that `cloud.json` describes, with its root user's credentials."""
    environment = record["environment"]
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    options = {"endpoint_url": environment["AWS_ENDPOINT_URL"], "verify": environment["AWS_CA_BUNDLE"]}
    with aws_errors_explained():
        return _identified(AwsTarget(session, options))


def app_name(checkout: Path, context: Sequence[str]) -> str:
    """Return the app's name: that of ``-c name=NAME``, else that of cdk.json.

    Raises:
        CommandError: neither has the app's name.
    """
    given = dict(part.partition("=")[::2] for part in context)
    if unknown := sorted(set(given) - {"name"}):
        raise CommandError(
            f"-c {unknown[0]}=… is not used by this command.", "It takes only the app's name: -c name=NAME."
        )
    if given.get("name"):
        return given["name"]
    try:
        name = read_context(checkout).get("name")
    except ContextError as error:
        raise CommandError(
            f"The app's name cannot be read from cdk.json: {error}", "Give it with -c name=NAME."
        ) from error
    if not name:
        raise CommandError("cdk.json has no name for the app.", "Give it with -c name=NAME.")
    return str(name)


def _identified(target: AwsTarget) -> AwsTarget:
    target.account = target.client("sts").get_caller_identity()["Account"]
    return target


@contextmanager
def aws_errors_explained() -> Iterator[None]:
    """Turn errors of credentials, region and network into a `CommandError` with its cure."""
    try:
        yield
    except ProfileNotFound as error:
        unknown = unknown_profile(str(error.kwargs.get("profile", "")))
        raise CommandError(unknown.sentence, unknown.cure) from error
    except NoRegionError as error:
        raise CommandError(
            "No AWS region is set.", "Give the one that you deployed to: --region us-east-1."
        ) from error
    except (ClientError, BotoCoreError) as error:
        problem = credential_problem(error)
        if problem:
            raise CommandError(problem.sentence, problem.cure) from error
        if isinstance(error, ClientError):
            answer = error.response["Error"]
            raise CommandError(
                f"AWS refused {error.operation_name}: {answer['Code']}: {answer.get('Message', '')}",
                "Use credentials with that permission, or ask whoever manages the account.",
            ) from error
        raise CommandError(str(error), "Check the AWS configuration: aws configure list") from error
