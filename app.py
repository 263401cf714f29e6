"""The CDK app: reads the settings, creates the stacks and adds the checks."""

import json
import os
import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from contracts import settings
from stacks import composition
from stacks.chat.page import PageMissingError
from stacks.functions.function_bundles import FunctionMissingError
from stacks.functions.function_packages import PackagesMissingError
from stacks.regions import UnsupportedRegionError

_REFUSALS = (
    settings.SettingsError,
    UnsupportedRegionError,
    FunctionMissingError,
    PackagesMissingError,
    PageMissingError,
)
_CHECKOUT = Path(__file__).resolve().parent
_BUILT_PAGE = _CHECKOUT / "web" / "dist"


def main() -> int:
    """Synthesize; returns the exit status."""
    pinned = json.loads((_CHECKOUT / "package.json").read_text(encoding="utf-8"))["devDependencies"][
        "aws-cdk"
    ]
    cli = os.environ.get("CDK_CLI_VERSION", pinned)  # set by the CDK CLI
    if cli != pinned:
        print(
            f"This is CDK CLI {cli}, and Storyloom is tested with {pinned} alone. "
            "Install that with make setup, and use it with npx --no-install cdk.",
            file=sys.stderr,
        )
        return 2
    region = os.environ.get("CDK_DEFAULT_REGION")
    if not region:
        print(
            "No AWS region is configured: the templates fit any, with the containers of "
            f"{composition.DEFAULT_REGION}. Set AWS_REGION to choose one.",
            file=sys.stderr,
        )
    app = App(analytics_reporting=False, performance_reporting=False)
    try:
        composition.compose(
            app,
            settings.read(app.node.get_all_context()),
            built_page=_BUILT_PAGE,
            account=os.environ.get("CDK_DEFAULT_ACCOUNT"),
            region=region,
        )
    except _REFUSALS as error:
        print(error, file=sys.stderr)
        return 2
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
