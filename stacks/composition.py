"""Creates the four stacks and checks the settings together."""

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Annotations, App, Aws, Environment, Tags

from contracts.resource_names import REGION_TAG, TAG
from contracts.settings import Settings
from stacks import prices, regions
from stacks.chat.stack import ChatStack
from stacks.functions.function_bundles import FunctionBundles
from stacks.operations.stack import OperationsStack
from stacks.pipeline.stack import PipelineStack
from stacks.storage.stack import StorageStack

DEFAULT_REGION = "us-east-1"
_NO_OWNER = (
    "admin_email is empty, so nobody could sign in. Give your address with "
    '-c admin_email=writer@example.com, or in cdk.json under "context".'
)


@dataclass(frozen=True)
class Stacks:
    """The app's four stacks."""

    storage: StorageStack
    pipeline: PipelineStack
    chat: ChatStack
    operations: OperationsStack


def compose(
    app: App, settings: Settings, *, built_page: Path, account: str | None = None, region: str | None = None
) -> Stacks:
    """Create the stacks.

    Args:
        app: their scope.
        settings: of the app.
        built_page: folder of the built chat page.
        account: AWS account; None creates templates for any account.
        region: AWS region; None creates templates for any region, with container images of `DEFAULT_REGION`.

    Raises:
        FunctionMissingError, PackagesMissingError, PageMissingError: something must be set up first; the
            message has the command.
        UnsupportedRegionError: something that the app needs is not available in the region.
    """
    if region:
        regions.check(region)
    env = Environment(account=account, region=region)
    names = settings.names
    bundles = FunctionBundles(settings.function_python)
    storage = StorageStack(app, names.storage_stack, settings=settings, env=env)
    pipeline = PipelineStack(
        app,
        names.pipeline_stack,
        settings=settings,
        storage=storage,
        bundles=bundles,
        image_region=region or DEFAULT_REGION,
        env=env,
    )
    chat = ChatStack(
        app,
        names.chat_stack,
        settings=settings,
        storage=storage,
        pipeline=pipeline,
        bundles=bundles,
        built_page=built_page,
        env=env,
    )
    operations = OperationsStack(
        app, names.operations_stack, settings=settings, pipeline=pipeline, chat=chat, env=env
    )
    if account and not settings.admin_email and not settings.browser_endpoint:
        # Not raised: an app that was deployed with an address can still be destroyed without one.
        Annotations.of(chat).add_error(_NO_OWNER)
    for fault in unpriced_instances(settings):
        Annotations.of(pipeline).add_error(fault)
    Tags.of(app).add(TAG, settings.name)
    # Roles belong to no region, and CloudFormation does not tag them with their stack as it tags others.
    Tags.of(app).add(REGION_TAG, Aws.REGION, include_resource_types=["AWS::IAM::Role"])
    return Stacks(storage, pipeline, chat, operations)


def unpriced_instances(settings: Settings) -> list[str]:
    """Return a message for each instance without a price, if the month has a limit.

    A price that ships for another region is enough here: the deployment reads the region's own from AWS, and
    the ledger refuses an instance that has none then.
    """
    if not settings.monthly_limit_usd:
        return []
    return [
        f"The price of {instance} for {kind} is not known, so its cost cannot be kept within "
        f"monthly_limit_usd (${settings.monthly_limit_usd:g}). Give it, in dollars an hour, with "
        f"-c instance_prices_usd={instance}=PRICE or in cdk.json; or choose another instance; or set "
        "monthly_limit_usd to 0, which is no limit."
        for kind, instance in prices.unpriced(settings, DEFAULT_REGION)
    ]
