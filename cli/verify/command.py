"""The command `storyloom verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.local_record import LOCAL_STATE
from cli.output import AsJson

_SAMPLE_STORIES = Path(__file__).resolve().parents[2] / "sample_stories"

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
        help="Stories to learn from, if there is no version yet; else this checkout's sample stories.",
        show_default=False,
    ),
]
Only = Annotated[list[str] | None, typer.Option(help="Prove this line, and those it needs. May be repeated.")]
Skip = Annotated[list[str] | None, typer.Option(help="Leave this line out. May be repeated.")]
Limit = Annotated[float, typer.Option(help="Dollars that it may cost; what would cost more is not begun.")]
PriceAnHour = Annotated[
    float | None, typer.Option(help="Dollars an hour of an instance whose price Storyloom does not know.")
]
Out = Annotated[Path, typer.Option("--out", help="Where the JSON file goes.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs.")]
Keep = Annotated[bool, typer.Option("--keep-stories", help="Leave the uploaded stories in the bucket.")]
Listed = Annotated[bool, typer.Option("--list", help="List the lines with what each may cost, and end.")]


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

    Needs the credentials that you deployed with, and no sign-in: it makes a person of its own in the user
    pool, and removes them afterwards. Before there is a version it uploads the sample stories, lets the run
    that they start train a version, and takes the stories away again. If a version is live, it looks at the
    run that trained it, uploads one small file, and stops the run that this starts before it trains.

    It says first what it may cost, and asks. A line that could take the whole above --limit-usd is not begun,
    and what runs when the limit is reached is stopped. At the end the model sleeps, unless it was awake.

    The JSON file has no story text, account number or address in it: attach it to an issue if a line fails.

    Exit code 0: every line is proven. 1: a line failed or could not be tried.

    Examples:

      storyloom verify

      storyloom verify --list

      storyloom verify --only stream --only stop

      storyloom verify --skip batch --limit-usd 0.7 --yes --json
    """
    from cli.verify.session import Choices, verify_deployment  # noqa: PLC0415 (boto3 is slow to import)

    choices = Choices(
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
    code = verify_deployment(choices)
    if code:
        raise typer.Exit(code)
