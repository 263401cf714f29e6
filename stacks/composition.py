"""Puts the four stacks together."""

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Annotations, App, Aws, Environment, Tags

from contracts.settings import Settings
from stacks import prices, regions
from stacks.chat.stack import ChatStack
from stacks.functions.function_bundles import FunctionBundles
from stacks.operations.stack import OperationsStack
from stacks.pipeline.stack import PipelineStack
from stacks.storage.stack import StorageStack

DEFAULT_REGION = "us-east-1"
_NO_FIRST_PERSON = (
    "admin_email is empty, so nobody could sign in. Give your address with "
    '-c admin_email=writer@example.com, or in cdk.json under "context".'
)


@dataclass(frozen=True)
class Stacks:
    """The app's stacks."""

    storage: StorageStack
    pipeline: PipelineStack
    chat: ChatStack
    operations: OperationsStack


def compose(
    app: App, settings: Settings, *, built_page: Path, account: str | None = None, region: str | None = None
) -> Stacks:
    """Make the stacks.

    Args:
        app: to make them in.
        settings: what a person chose.
        built_page: folder of the built chat page.
        account: AWS account; None makes templates for any.
        region: AWS region; None makes templates for any, with container images of `DEFAULT_REGION`.

    Raises:
        FunctionMissingError, PackagesMissingError, PageMissingError: something has to be set up first; the
            message says how.
        UnsupportedRegionError: something that the app needs is not in the region.
    """
    if region:
        regions.check(region)
    env = Environment(account=account, region=region)
    bundles = FunctionBundles(settings.function_python)
    storage = StorageStack(app, f"{settings.title}-Storage", settings=settings, env=env)
    pipeline = PipelineStack(
        app,
        f"{settings.title}-Pipeline",
        settings=settings,
        storage=storage,
        bundles=bundles,
        image_region=region or DEFAULT_REGION,
        env=env,
    )
    chat = ChatStack(
        app,
        f"{settings.title}-Chat",
        settings=settings,
        storage=storage,
        pipeline=pipeline,
        bundles=bundles,
        built_page=built_page,
        env=env,
    )
    operations = OperationsStack(
        app, f"{settings.title}-Operations", settings=settings, pipeline=pipeline, chat=chat, env=env
    )
    if account and not settings.admin_email and not settings.browser_endpoint:
        # On the stack and not raised: what was deployed with an address can still be destroyed without one.
        Annotations.of(chat).add_error(_NO_FIRST_PERSON)
    for fault in unpriced_instances(settings):
        Annotations.of(pipeline).add_error(fault)
    Tags.of(app).add("storyloom:app", settings.name)
    # Roles belong to no region, and CloudFormation does not tag them with their stack as it does others.
    Tags.of(app).add("storyloom:region", Aws.REGION, include_resource_types=["AWS::IAM::Role"])
    return Stacks(storage, pipeline, chat, operations)


def unpriced_instances(settings: Settings) -> list[str]:
    """Say which instances nobody has a price of, although the month has a limit.

    A price that ships for another region is enough here: AWS is asked for the region's own at deployment, and
    the ledger refuses what has none then.
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
