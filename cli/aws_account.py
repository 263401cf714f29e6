"""The AWS account that a command works on: the user's own, or the local cloud of this checkout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.connection import LOCAL_STATE, local_cloud_record
from cli.errors import CommandError

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class AwsAccount:
    """A session with its region."""

    session: boto3.Session = field(repr=False)
    region: str
    is_local: bool = False
    """Whether it is the local cloud, on which nothing costs."""
    _options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client(self, service: str) -> Any:
        """Make a client of a service, such as `sagemaker`."""
        return self.session.client(service, region_name=self.region, **self._options)  # type: ignore[call-overload]


def open_account(profile: str | None, region: str | None, state: Path = LOCAL_STATE) -> AwsAccount:
    """Open the local cloud if it is up and no profile is named, else the user's own account.

    Args:
        profile: of the AWS configuration; None takes what the environment says.
        region: None takes the profile's.
        state: folder of the local cloud.

    Raises:
        CommandError: there is no such profile, or no region.
    """
    import boto3  # noqa: PLC0415 (half a second, which no other command has to wait)
    from botocore.exceptions import ProfileNotFound  # noqa: PLC0415

    record = None if profile else local_cloud_record(state)
    if record is not None:
        return account_of_local_cloud(record["environment"])
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
    except ProfileNotFound:
        raise CommandError(
            f"There is no AWS profile {profile}.", "List yours with: aws configure list-profiles"
        ) from None
    if not session.region_name:
        raise CommandError(
            "No AWS region is chosen.",
            "Name one with --region, such as --region us-east-1, or set AWS_REGION.",
        )
    return AwsAccount(session, session.region_name)


def account_of_local_cloud(environment: Mapping[str, str]) -> AwsAccount:
    """Open a local cloud by the environment that it gives to clients."""
    import boto3  # noqa: PLC0415

    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    options = {"endpoint_url": environment["AWS_ENDPOINT_URL"], "verify": environment["AWS_CA_BUNDLE"]}
    return AwsAccount(session, environment["AWS_REGION"], is_local=True, _options=options)
