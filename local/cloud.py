"""`LocalCloud`: this app on AWS on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.aws.account.account_file import Profile
from local.aws.cloud_environment import CloudFolders
from local.aws.local_aws import LocalAws
from price_list.start_prices import START_PRICES

ENDPOINT_SERVER = "local.endpoint_server"
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class LocalCloud:
    """One local cloud with the app of a checkout.

    `checkout` holds the app (app.py, cdk.json); `state` is the only folder that the cloud writes to.
    Two clouds need two state folders and two pairs of ports.
    """

    checkout: Path
    state: Path
    port: int = 4566
    page_port: int = 8400
    context: Mapping[str, str] = field(default_factory=dict)
    """CDK context on top of what the app gets on one machine."""
    account: Profile = "usual"
    """What AWS allows this cloud's account (`local.aws.account`)."""

    @property
    def aws(self) -> LocalAws:
        """AWS on this machine, to which the app is deployed."""
        return LocalAws(
            self.state,
            self.port,
            self.page_port,
            self.account,
            endpoint_server=ENDPOINT_SERVER,
            folder=_PACKAGE_ROOT,
            prices=_prices(),
        )

    @property
    def page_url(self) -> str:
        """URL of the app's page."""
        return self.aws.page_url

    @property
    def folders(self) -> CloudFolders:
        """Paths of this cloud's files."""
        return self.aws.folders

    def up(self) -> None:
        """Start the cloud and return when it answers; does nothing if it is up already.

        Raises `LocalCloudError` if a port is taken or a part does not start.
        """
        self.aws.up()

    def deploy(self, progress: Callable[[str], None]) -> None:
        """Bootstrap and deploy the app with the real CDK CLI, and create its first user.

        `progress` is called with one line of text at a time.
        """
        from local.deploy import deploy_app  # noqa: PLC0415 (boto3 is slow to import; up and down need none)

        deploy_app(self.aws, self.checkout, self.context, progress)

    def destroy(self, progress: Callable[[str], None], *stacks: str) -> None:
        """Run ``cdk destroy`` for some of the deployed stacks, or for all of them."""
        from local.deploy import destroy_app  # noqa: PLC0415 (as above)

        destroy_app(self.aws, self.checkout, progress, *stacks)

    def down(self) -> None:
        """Stop every process of this cloud and remove its files, also after a crash."""
        self.aws.down()

    def set_quota(self, name: str, value: float) -> None:
        """Give the account's quota `name` (`ml.g6.xlarge for endpoint usage`) another value, from now on."""
        self.aws.set_quota(name, value)

    def status(self) -> dict[str, Any]:
        """Return the contents of `cloud.json`, and `running`: whether this cloud's processes answer."""
        return self.aws.status()

    def is_supervised(self) -> bool:
        """Tell whether the process of `cloud.json` runs and is this cloud's; it may still be starting."""
        return self.aws.is_supervised()

    def environment(self) -> dict[str, str]:
        """Return the variables with which the AWS CLI, CDK and boto3 use this cloud as its administrator."""
        return self.aws.environment()

    def description(self) -> dict[str, Any]:
        """Return the contents of `cloud.json`; empty if the cloud was never started.

        Raises `LocalCloudError` if the file is not the user's own.
        """
        return self.aws.description()


def _prices() -> dict[str, Any]:
    """Return the prices that ship with the app: those of one region stand for all."""
    (listed,) = (one for one in START_PRICES if one.region == "us-east-1")
    rows = [
        {"instance": row.instance, "usd_per_hour": row.usd_per_hour, "kinds": row.kinds}
        for row in listed.rows
    ]
    return {"date": listed.date, "instances": rows}
