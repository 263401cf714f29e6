"""`storyloom destroy`: delete everything but the stories, and list what is left with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import AsJson
from cli.user_files import LOCAL_STATE


def destroy(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    stories: Annotated[
        bool, typer.Option("--stories", help="Delete your stories, all versions and all records as well.")
    ] = False,
    confirm: Annotated[
        str, typer.Option(help="The app's name, instead of typing it when --stories asks for it.")
    ] = "",
    profile: Annotated[str, typer.Option(help="A profile of your AWS configuration.")] = "",
    region: Annotated[str, typer.Option(help="The region of the deployment.")] = "",
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", help="name=NAME, if the app is not named as in cdk.json."),
    ] = None,
    state: Annotated[Path, typer.Option(help="The folder of the local cloud.")] = LOCAL_STATE,
    as_json: AsJson = False,
) -> None:
    """Delete the deployment and everything that it made; afterwards only storage bills.

    Your stories, the versions trained on them and the records stay, and the next deployment under the same
    name continues with them. --stories deletes them too, after you have typed the app's name.

    Works on the local cloud of this checkout if it is up and neither --profile nor --region is given, else on
    AWS. Run it again to continue with what a first attempt left.

    Exit code 0: nothing is left but what is kept. 1: something else is left, and is listed with its reason.

    Examples:

      storyloom destroy

      storyloom destroy --yes --profile private --region eu-west-1

      storyloom destroy --stories --yes --confirm storyloom
    """
    from cli.removal.teardown import RemovalOptions, tear_down  # noqa: PLC0415 (boto3 is slow to import)

    options = RemovalOptions(yes=yes, stories=stories, confirm=confirm, as_json=as_json)
    clean = tear_down(options, state=state, profile=profile, region=region, context=context or [])
    if not clean:
        raise typer.Exit(1)
