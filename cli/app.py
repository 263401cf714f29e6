"""The command line's commands. Each does one thing, says what it does, and prints JSON with ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import batch, costs, destroy, journey, keys, models, people
from cli.addresses import page_address
from cli.api import StoryloomApi
from cli.browser import cached_page, show, write_private
from cli.connection import connect, sign_in_and_keep
from cli.doctor.command import doctor
from cli.errors import CommandError
from cli.local_record import CHECKOUT, LOCAL_STATE
from cli.output import AsJson, print_json
from cli.progress import follow_run, run_panel, runs_table
from cli.terminal import PlainConsole
from cli.verify.command import verify
from local.aws.account.account_file import Profile
from local.aws.errors import LocalCloudError
from local.cloud import LocalCloud

app = typer.Typer(
    help="Storyloom: your stories in, your own story-telling model out.\n\n"
    "Commands talk to the local cloud of this checkout while it is up (`make run`), "
    "else to the deployment you signed in to with `storyloom login`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
local_app = typer.Typer(help="AWS on this machine: no account, no GPU, no Docker.", no_args_is_help=True)
app.add_typer(local_app, name="local")
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(people.app, name="people")
app.command()(people.audit)
app.command()(batch.batch)
app.command()(costs.costs)
app.command()(verify)
app.command()(doctor)
app.command()(destroy.destroy)

out = PlainConsole()
notes = PlainConsole(stderr=True)  # progress goes here, so that --json leaves standard output clean

Folder = Annotated[Path, typer.Argument(help="A folder of stories, or one file.")]
RunId = Annotated[str, typer.Argument(help="The run's id, as `storyloom runs` lists it.")]
State = Annotated[Path, typer.Option(help="The folder that holds everything of this local cloud.")]
Port = Annotated[int, typer.Option(help="The port AWS's APIs answer on; another is taken when it is busy.")]
AccountProfile = Annotated[
    Profile,
    typer.Option(
        help="What AWS allows the account: usual, or new (no GPU quotas, 10 functions at once, 3,008 MB)."
    ),
]
PagePort = Annotated[int, typer.Option(help="The port of the page; another is taken when it is busy.")]


def main() -> None:
    """Runs the command line; a `CommandError` becomes two lines on standard error and exit code 1."""
    try:
        app()
    except (CommandError, LocalCloudError) as error:
        notes.print(str(error), style="red", highlight=False, markup=False)
        if isinstance(error, CommandError) and error.cure:
            notes.print(error.cure, highlight=False, markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _places(
    state: Path,
    port: int,
    page_port: int,
    context: Mapping[str, str] | None = None,
    account: Profile = "usual",
) -> journey.Places:
    ports = journey.free_port(port), journey.free_port(page_port)
    return journey.Places(CHECKOUT, CHECKOUT / state, *ports, context or {}, account)


@app.command()
def login(
    url: Annotated[
        str,
        typer.Argument(
            callback=page_address,  # before anything is asked for
            help="The page's address: the PageUrl that `cdk deploy` printed.",
        ),
    ],
    email: Annotated[str, typer.Option(prompt=True, help="Your e-mail.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="Asked for, never kept.")],
) -> None:
    """Sign in to a Storyloom on AWS, once; later commands find it."""
    kept = sign_in_and_keep(url, email, password)
    notes.print(f"signed in; {kept} remembers it (delete the file to sign out)", highlight=False)


@app.command()
def check(
    folder: Folder,
    *,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page into this file.")] = None,
    show_page: Annotated[bool, typer.Option("--open/--no-open", help="Show the page in the browser.")] = True,
    base_model: Annotated[str, typer.Option(help="Another base model than cdk.json's: qwen3-4b, …")] = "",
    instance: Annotated[str, typer.Option(help="Another machine to train on than cdk.json's.")] = "",
    as_json: AsJson = False,
) -> None:
    """See what your stories will make, before anything is uploaded or spent.

    Reads a folder on this machine exactly as the pipeline would: says which files can be used, why the others
    cannot and what helps, whether it is enough, and what training would take and cost. Nothing leaves this
    machine, and nothing in the folder is changed. Hidden files and folders, and folders that are only linked
    to, are passed over, as `storyloom upload` does.

    Exit code 0: there is enough to begin. 1: not yet, or the folder cannot be read.

    Examples:

      storyloom check ~/stories

      storyloom check ~/stories --base-model llama-3.1-8b --instance ml.g6e.xlarge

      storyloom check ~/stories --json | jq .cost_at_most_usd
    """
    # The readers take a third of a second to load, which no other command has to wait.
    from cli.check import check as check_folder  # noqa: PLC0415 (slow)
    from cli.check import read_settings  # noqa: PLC0415 (slow)
    from cli.check_summary import summary  # noqa: PLC0415 (slow)
    from stories.report import to_html  # noqa: PLC0415 (slow)

    if html is not None and html.resolve().is_relative_to(folder.resolve()):
        raise CommandError(
            f"{html} would lie among your stories and be read as one.", "Name a file outside of the folder."
        )
    try:
        report = check_folder(folder, read_settings(CHECKOUT, base_model, instance), notes)
    except KeyboardInterrupt:
        notes.print("Stopped. Nothing was uploaded, and nothing in the folder was changed.")
        raise typer.Exit(130) from None
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
    else:
        out.print(summary(report), highlight=False)
    page = html or cached_page("check.html")
    if html is not None or (show_page and not as_json):
        write_private(page, to_html(report))
        shown = show_page and not as_json and show(page)
        notes.print(
            f"{'shown in the browser' if shown else 'the page'}: {page}", highlight=False, markup=False
        )
    if not report.enough:
        raise typer.Exit(1)


@app.command()
def upload(folder: Folder, as_json: AsJson = False) -> None:
    """Drop stories into the bucket. A run starts by itself when the bucket has been quiet for a while."""
    api = StoryloomApi(connect())
    count = journey.drop_stories(api, folder, notes)
    if as_json:
        print_json({"files": count, "stories_in_bucket": len(api.stories())})


@app.command()
def delete(
    key: Annotated[str, typer.Argument(help="The story's key: its file name, with its folders.")],
    as_json: AsJson = False,
) -> None:
    """Take a story out of the bucket. The bucket keeps its text; what is printed says how to get it back."""
    _say(StoryloomApi(connect()).delete_story(key), as_json)


@app.command()
def start(
    from_run: Annotated[
        str, typer.Option("--from", metavar="RUN", help="A failed run, to resume where it failed.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Train also if nothing has changed since the last training.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run with all stories now, without new ones. While a run is going, one more follows it.

    If stories and settings are those of the last run that trained, it ends before anything is paid for; with
    --again it trains all the same.

    With --from a failed run is resumed where it failed and keeps what it has made: nothing is trained twice.
    """
    api = StoryloomApi(connect())
    started = api.resume_run(from_run) if from_run else api.start_run(again=again)
    _say(started, as_json)
    if not as_json:
        _say_how_to_watch(started["run_id"])


@app.command()
def stop(run_id: RunId, as_json: AsJson = False) -> None:
    """Stop a run that is going, with its job. Your stories and what answers stay as they are."""
    _say(StoryloomApi(connect()).stop_run(run_id), as_json)
    if not as_json:
        _say_how_to_watch(run_id)


@app.command()
def wake(as_json: AsJson = False) -> None:
    """Wake the model, so that it is ready when you write. From then on its machine bills until it sleeps."""
    _say(StoryloomApi(connect()).wake(), as_json)


@app.command()
def sleep(as_json: AsJson = False) -> None:
    """Put the model to sleep now, for everybody: its machine goes, and bills no more. A message wakes it."""
    _say(StoryloomApi(connect()).sleep(), as_json)


def _say(done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        # A command that is to be copied must not be cut into lines.
        out.print(done["message"] or done["status"], highlight=False, markup=False, soft_wrap=True)


def _say_how_to_watch(run_id: str) -> None:
    out.print(f"Watch it with: storyloom runs {run_id} --follow", highlight=False, markup=False)


@app.command()
def runs(
    run_id: Annotated[str | None, typer.Argument(help="One run's id; without it, all of them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch it until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs, or show one: its states, its losses, its report, and why it failed."""
    api = StoryloomApi(connect())
    listed = api.runs()
    if follow and run_id is None:
        if not listed:
            raise CommandError("There is no run to follow.", "Start one with `storyloom upload FOLDER`.")
        run_id = listed[0]["run_id"]
    if run_id is None:
        print_json(listed) if as_json else out.print(runs_table(listed))
        return
    run = follow_run(api, run_id, notes) if follow else api.run(run_id)
    print_json(run) if as_json else out.print(run_panel(run))
    if run["status"] == "failed":
        raise typer.Exit(1)


@app.command()
def approve(run_id: RunId, as_json: AsJson = False) -> None:
    """Say yes to a run that waits before it trains (setting ask_before_training)."""
    _say_answer(StoryloomApi(connect()).approve(run_id), as_json)


@app.command()
def decline(run_id: RunId, as_json: AsJson = False) -> None:
    """Say no to a run that waits: it ends, nothing is spent on a GPU, your stories stay as they are."""
    _say_answer(StoryloomApi(connect()).decline(run_id), as_json)


def _say_answer(run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    out.print(f"run {run['run_id']}: {run.get('message') or run['status']}", highlight=False, markup=False)
    _say_how_to_watch(run["run_id"])


@app.command()
def chat(
    prompt: Annotated[str | None, typer.Argument(help="Ask once; without it, talk until Ctrl-D.")] = None,
    model: Annotated[str, typer.Option(help="storyloom (the live one), base, or v1, v2 …")] = "storyloom",
    as_json: AsJson = False,
) -> None:
    """Chat with the model. A sleeping model is woken, which takes a few minutes on AWS."""
    api = StoryloomApi(connect())
    if prompt is not None:
        answer = journey.ask(api, prompt, notes if as_json else out, model)
        if as_json:
            print_json(answer.__dict__)
        return
    messages: list[dict[str, str]] = []
    while True:
        try:
            messages.append({"role": "user", "content": out.input("[bold]you[/] ")})
        except EOFError:
            out.print()
            return
        for piece, answered in api.chat(messages, model):
            out.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
            if answered is not None:
                messages.append({"role": "assistant", "content": answered.text})
        out.print("\n")


@local_app.command("up")
def local_up(
    state: State = LOCAL_STATE,
    port: Port = 4566,
    page_port: PagePort = 8400,
    account: AccountProfile = "usual",
    as_json: AsJson = False,
) -> None:
    """Start AWS on this machine and deploy the app to it; it stays up until `storyloom local down`."""
    places = _places(state, port, page_port, account=account)
    cloud = places.cloud()
    try:
        journey.start_and_deploy(cloud, notes)
    except BaseException:
        cloud.down()
        raise
    record = cloud.status()
    if as_json:
        print_json({"url": record["url"], "sign_in": record["sign_in"]})
    else:
        _say_where(record)


@local_app.command("down")
def local_down(state: State = LOCAL_STATE, as_json: AsJson = False) -> None:
    """Stop it: every process, every port; also after a crash. What it held goes with it."""
    LocalCloud(CHECKOUT, CHECKOUT / state).down()
    if as_json:
        print_json({"down": True})


@local_app.command("run")
def local_run(
    stories: Annotated[Path, typer.Option(help="The folder to drop in first.")] = Path("sample_stories"),
    state: State = LOCAL_STATE,
    port: Port = 4566,
    page_port: PagePort = 8400,
    account: AccountProfile = "usual",
) -> None:
    """`make run`: start, deploy, drop a folder in, follow the run, then stay up until Ctrl-C."""
    with journey.running_cloud(_places(state, port, page_port, account=account), notes) as cloud:
        run = journey.drop_and_follow(journey.signed_in(cloud), stories, notes)
        out.print(run_panel(run))
        _say_where(cloud.status())
        out.print("Ctrl-C stops it.")
        try:
            journey.stay_up(cloud)
            out.print("It was taken down from another terminal.")
        except KeyboardInterrupt:
            out.print()


@local_app.command("demo")
def local_demo(
    stories: Annotated[Path, typer.Option(help="The folder to drop in.")] = Path("sample_stories"),
    state: State = Path(".local-cloud-demo"),
    port: Port = 4576,
    page_port: PagePort = 8410,
) -> None:
    """`make demo`: the whole way once, then stop. The last line is one JSON object."""
    places = _places(state, port, page_port, journey.DEMO_SETTINGS)
    sys.stdout.write(journey.demo(places, stories, notes) + "\n")


def _say_where(record: dict[str, Any]) -> None:
    sign_in = record["sign_in"]
    for label, value in (("page", record["url"]), *sign_in.items()):
        out.print(f"  {label:10}{value}", highlight=False, markup=False)
