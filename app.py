"""The app: reads the settings, makes the stacks, adds the checks."""

import os
import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from stacks import composition, settings
from stacks.function_bundles import FunctionMissingError
from stacks.function_packages import PackagesMissingError
from stacks.page import PageMissingError

_BUILT_PAGE = Path(__file__).resolve().parent / "web" / "dist"


def main() -> int:
    """Synthesize; returns the exit status."""
    app = App(analytics_reporting=False, performance_reporting=False)
    try:
        composition.compose(
            app,
            settings.read(app.node.get_all_context()),
            built_page=_BUILT_PAGE,
            account=os.environ.get("CDK_DEFAULT_ACCOUNT"),
            region=os.environ.get("CDK_DEFAULT_REGION"),
        )
    except (settings.SettingsError, FunctionMissingError, PackagesMissingError, PageMissingError) as error:
        print(error, file=sys.stderr)
        return 2
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
