"""Two accounts to look at, a new one and a usual one, and a hub that gives the base model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.aws.account.account_file import Profile
from local.aws.cloud_environment import ACCOUNT, REGION
from local.cloud import LocalCloud
from tests.local.doctor.hub import running_hub
from tests.local.sagemaker.conftest import free_port

CHECKOUT = Path(__file__).resolve().parents[3]
ASSETS = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"


@pytest.fixture(scope="session")
def hub() -> Iterator[str]:
    """Return address of a hub that has every model."""
    with running_hub() as address:
        yield address


@dataclass
class Examined:
    """A cloud that is up, and the doctor's way to it."""

    cloud: LocalCloud
    hub: str
    credentials: dict[str, str] = field(default_factory=dict)
    """In place of the root user's."""

    def client(self, service: str) -> Any:
        """Return a client of the account's root user."""
        environment = self.cloud.environment()
        session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        return session.client(  # type: ignore[call-overload]
            service,
            region_name=REGION,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            verify=environment["AWS_CA_BUNDLE"],
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `storyloom doctor` against this cloud."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        own = {"HF_ENDPOINT": self.hub, "COLUMNS": "150", **self.credentials, **variables}
        return subprocess.run(
            [sys.executable, "-m", "cli", "doctor", *arguments],
            cwd=CHECKOUT,
            env={**inherited, **self.cloud.environment(), **own},
            capture_output=True,
            text=True,
            check=False,
        )

    def report(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """Run it for its JSON; the findings are listed by subject under `by_subject`."""
        done = self.run("--json", *arguments, **variables)
        assert done.returncode in {0, 1}, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["ok"] == (done.returncode == 0)
        return {**document, "by_subject": {finding["subject"]: finding for finding in document["findings"]}}


def _up(tmp_path_factory: pytest.TempPathFactory, profile: Profile, hub: str) -> Iterator[Examined]:
    state = tmp_path_factory.mktemp(profile) / "state"
    cloud = LocalCloud(CHECKOUT, state, free_port(), free_port(), account=profile)
    try:
        cloud.up()
        yield Examined(cloud, hub)
    finally:
        cloud.down()


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, hub: str) -> Iterator[Examined]:
    """Return a new account in which nothing was ever done."""
    yield from _up(tmp_path_factory, "new", hub)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, hub: str) -> Iterator[Examined]:
    """Return an account that is ready: bootstrapped, with a distribution, asked as an administrator."""
    for examined in _up(tmp_path_factory, "usual", hub):
        examined.client("ssm").put_parameter(
            Name="/cdk-bootstrap/hnb659fds/version", Value="33", Type="String"
        )
        examined.client("s3").create_bucket(Bucket=ASSETS)
        examined.client("cloudfront").create_distribution(DistributionConfig=_DISTRIBUTION)
        examined.credentials = user(examined, "ada", "arn:aws:iam::aws:policy/AdministratorAccess")
        yield examined


_DISTRIBUTION = {
    "CallerReference": "one",
    "Comment": "",
    "Enabled": True,
    "Origins": {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "example.com"}]},
    "DefaultCacheBehavior": {"TargetOriginId": "o", "ViewerProtocolPolicy": "https-only"},
}


def user(examined: Examined, name: str, policy_arn: str = "") -> dict[str, str]:
    """Make an IAM user; returns what the environment holds of them."""
    iam = examined.client("iam")
    iam.create_user(UserName=name)
    if policy_arn:
        iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
