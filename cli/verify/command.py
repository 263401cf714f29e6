"""The command `storyloom verify`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import AsJson
from cli.user_files import CHECKOUT, LOCAL_STATE

_SAMPLE_STORIES = CHECKOUT / "sample_stories"

Profile = Annotated[str, typer.Option(help="A profile of your AWS configuration.")]
Region = Annotated[str, typer.Option(help="The region of the deployment.")]
Context = Annotated[
    list[str] | None,
    typer.Option("--context", "-c", help="KEY=VALUE, as given to `cdk deploy`, such as name=NAME."),
]
State = Annotated[Path, typer.Option(help="The folder of the local cloud.")]
Stories = Annotated[
    Path,
    typer.Option(
        help="Stories to train on if there is no version yet; by default this checkout's sample stories.",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None, typer.Option(help="Prove only this line, and those it depends on. May be repeated.")
]
Skip = Annotated[list[str] | None, typer.Option(help="Skip this line. May be repeated.")]
Limit = Annotated[
    float,
    typer.Option(help="The most that it may cost in US dollars; a line that would cost more is not started."),
]
PriceAnHour = Annotated[
    float | None, typer.Option(help="Price in US dollars an hour of an instance whose price is unknown.")
]
Out = Annotated[Path, typer.Option("--out", help="The JSON file to write.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs.")]
Keep = Annotated[bool, typer.Option("--keep-stories", help="Leave the uploaded stories in the bucket.")]
Listed = Annotated[bool, typer.Option("--list", help="List the lines with what each may cost, and exit.")]


def verify(  # noqa: PLR0917 - options, which typer passes by name
    profile: Profile = "",
    region: Region = "",
    context: Context = None,
    state: State = LOCAL_STATE,
    stories: Stories = _SAMPLE_STORIES,
    only: Only = None,
    skip: Skip = None,
    limit_usd: Limit = 1.0,
    usd_per_hour: PriceAnHour = None,
    out_file: Out = Path("storyloom-verify.json"),
    *,
    yes: Yes = False,
    keep_stories: Keep = False,
    listed: Listed = False,
    as_json: AsJson = False,
) -> None:
    """Prove that a deployment works, line by line, with a short real run.

    Needs the credentials that you deployed with, and no sign-in: it creates a user of its own in the user
    pool, and deletes it afterwards. If there is no version yet, it uploads the sample stories, waits until
    the run that they start has trained a version, and deletes the stories again. If a version is live, it
    checks the run that trained it, uploads one small file, and stops the run that this starts.

    It prints first what it may cost, and asks. A line that could exceed --limit-usd is not started, and what
    is running when the limit is reached is stopped. At the end the model sleeps, unless it was awake before.

    The JSON file contains no story text, account number or address: attach it to an issue if a line fails.

    Exit code 0: every line is proven. 1: a line failed or was skipped.

    Examples:

      storyloom verify

      storyloom verify --list

      storyloom verify --only stream --only stop

      storyloom verify --skip batch --limit-usd 0.7 --yes --json
    """
    from cli.verify.session import VerifyOptions, verify_deployment  # noqa: PLC0415 (boto3 is slow to import)

    options = VerifyOptions(
        profile=profile,
        region=region,
        context=context or [],
        state=state,
        stories=stories,
        only=only or [],
        skip=skip or [],
        limit_usd=limit_usd,
        usd_per_hour=usd_per_hour,
        out_file=out_file,
        yes=yes,
        keep_stories=keep_stories,
        listed=listed,
        as_json=as_json,
    )
    code = verify_deployment(options)
    if code:
        raise typer.Exit(code)
