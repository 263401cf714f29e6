"""`storyloom local`: start and stop AWS on this machine; `make run` and `make demo` are two of these."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import journey
from cli.console import AsJson, notes, out, print_json
from cli.run_progress import run_panel
from cli.user_files import CHECKOUT, LOCAL_STATE
from local.aws.account.account_file import Profile
from local.cloud import LocalCloud

app = typer.Typer(help="AWS on this machine: no account, no GPU, no Docker.", no_args_is_help=True)

State = Annotated[Path, typer.Option(help="The folder that holds everything of this local cloud.")]
Port = Annotated[int, typer.Option(help="The port of AWS's APIs; if it is in use, another is chosen.")]
PagePort = Annotated[int, typer.Option(help="The port of the page; if it is in use, another is chosen.")]
AccountProfile = Annotated[
    Profile,
    typer.Option(
        help="What AWS allows the account: usual, or new (no GPU quotas, 10 functions at once, 3,008 MB)."
    ),
]


def _configured(
    state: Path,
    port: int,
    page_port: int,
    context: Mapping[str, str] | None = None,
    account: Profile = "usual",
) -> journey.LocalCloudConfig:
    ports = journey.port_or_free_port(port), journey.port_or_free_port(page_port)
    return journey.LocalCloudConfig(CHECKOUT, CHECKOUT / state, *ports, context or {}, account)


@app.command()
def up(
    state: State = LOCAL_STATE,
    port: Port = 4566,
    page_port: PagePort = 8400,
    account: AccountProfile = "usual",
    as_json: AsJson = False,
) -> None:
    """Start AWS on this machine and deploy the app to it; it stays up until `storyloom local down`."""
    cloud = _configured(state, port, page_port, account=account).cloud()
    try:
        journey.start_and_deploy(cloud, notes)
    except BaseException:
        cloud.down()
        raise
    record = cloud.status()
    if as_json:
        print_json({"url": record["url"], "sign_in": record["sign_in"]})
    else:
        _print_sign_in(record)


@app.command()
def down(state: State = LOCAL_STATE, as_json: AsJson = False) -> None:
    """Stop the local cloud, also after a crash: every process, every port, and all that it holds."""
    LocalCloud(CHECKOUT, CHECKOUT / state).down()
    if as_json:
        print_json({"down": True})


@app.command("run")
def stay_up(
    stories: Annotated[Path, typer.Option(help="The folder to upload first.")] = Path("sample_stories"),
    state: State = LOCAL_STATE,
    port: Port = 4566,
    page_port: PagePort = 8400,
    account: AccountProfile = "usual",
) -> None:
    """Start, deploy, upload a folder, follow the run, then stay up until Ctrl-C (`make run`)."""
    with journey.running_cloud(_configured(state, port, page_port, account=account), notes) as cloud:
        run = journey.upload_and_follow(journey.signed_in_api(cloud), stories, notes)
        out.print(run_panel(run))
        _print_sign_in(cloud.status())
        out.print("Ctrl-C stops it.")
        try:
            journey.stay_up(cloud)
            out.print("It was taken down from another terminal.")
        except KeyboardInterrupt:
            out.print()


@app.command("demo")
def run_demo(
    stories: Annotated[Path, typer.Option(help="The folder to upload.")] = Path("sample_stories"),
    state: State = Path(".local-cloud-demo"),
    port: Port = 4576,
    page_port: PagePort = 8410,
) -> None:
    """Go the whole way once, then stop (`make demo`). The last line is one JSON object."""
    config = _configured(state, port, page_port, journey.DEMO_SETTINGS)
    sys.stdout.write(journey.demo(config, stories, notes) + "\n")


def _print_sign_in(record: dict[str, Any]) -> None:
    sign_in = record["sign_in"]
    for label, value in (("page", record["url"]), *sign_in.items()):
        out.print(f"  {label:10}{value}", highlight=False, markup=False)
