"""The whole way in one command: start, deploy, upload the stories, follow the run, chat."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from cli.api.client import ChatReply, StoryloomApi
from cli.api.connection import sign_in
from cli.console import CommandError
from cli.run_progress import follow_run, wait_for_new_run
from cli.stories_folder import story_files
from contracts import statuses
from local.aws.account.account_file import Profile
from local.cloud import LocalCloud

PROMPT = "Tell me a story about a lost umbrella."
RUN_TIMEOUT_S = 3600
UPLOADS_AT_ONCE = 4
WATCH_SECONDS = 1.0
"""How often a command that stays up looks whether its cloud still runs."""
TAKE_DOWN_SECONDS = 10.0
DEMO_SETTINGS = {"max_training_minutes": "2"}
"""Keeps the demo under six minutes; `make run`, whose model people chat with, trains for three minutes."""
DEMO_TOKENS = 160
"""Enough to recognise the voice; two cores write about ten tokens a second."""


@dataclass(frozen=True)
class LocalCloudConfig:
    """The folders, ports and account of a local cloud, and settings of its app beside the local ones."""

    checkout: Path
    state: Path
    port: int
    page_port: int
    context: Mapping[str, str] = field(default_factory=dict)
    account: Profile = "usual"

    def cloud(self) -> LocalCloud:
        """Make the local cloud of this configuration, without starting it."""
        return LocalCloud(self.checkout, self.state, self.port, self.page_port, self.context, self.account)


def port_or_free_port(preferred: int) -> int:
    """Return `preferred` if the port is free, else a free one that the system chooses."""
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandError("This machine has no free port.")


@contextmanager
def running_cloud(config: LocalCloudConfig, console: Console) -> Iterator[LocalCloud]:
    """Yield a deployed local cloud, and stop it at the end of the block, whatever happens in it."""
    cloud = config.cloud()
    supervisor = None
    try:
        start_and_deploy(cloud, console)
        supervisor = cloud.description().get("pid")
        yield cloud
    finally:
        # If it was taken down meanwhile, another one in the same folder may have taken its place.
        if supervisor is None or cloud.description().get("pid") == supervisor:
            with console.status("stopping AWS on this machine"):
                cloud.down()


def stay_up(cloud: LocalCloud) -> None:
    """Wait until the cloud is taken down, by `storyloom local down` in another terminal.

    Raises:
        CommandError: it ended in any other way.
    """
    supervisor = cloud.description().get("pid")
    while cloud.is_supervised() and cloud.description().get("pid") == supervisor:
        time.sleep(WATCH_SECONDS)
    # Taking it down stops the processes first, and removes their record last.
    deadline = time.monotonic() + TAKE_DOWN_SECONDS
    while cloud.description().get("pid") == supervisor:
        if time.monotonic() > deadline:
            raise CommandError(
                "AWS on this machine ended unexpectedly.",
                f"Its logs are in {cloud.folders.logs}. `make run` starts it again.",
            )
        time.sleep(WATCH_SECONDS)


def start_and_deploy(cloud: LocalCloud, console: Console) -> None:
    """Start AWS on this machine and deploy the app to it; print each step and how long it took."""
    started = time.monotonic()
    with console.status("starting AWS on this machine"):
        cloud.up()
    console.print(f"AWS on this machine is up ({time.monotonic() - started:.0f} s)", highlight=False)
    started = time.monotonic()
    with console.status("deploying") as status:
        cloud.deploy(_DeployLines(console, status.update))
    console.print(f"deployed ({time.monotonic() - started:.0f} s)", highlight=False)


class _DeployLines:
    """Shows the newest of the CDK's many lines, and prints one line for each stack."""

    def __init__(self, console: Console, show: Callable[[str], None]) -> None:
        self._console = console
        self._show = show

    def __call__(self, line: str) -> None:
        words = line.strip()
        self._show(f"deploying: {escape(words[: self._console.width - 20])}")
        if words.startswith(("✅", "❌", "Converting", "Staging")):
            self._console.print(f"  {words}", highlight=False, markup=False)


def signed_in_api(cloud: LocalCloud) -> StoryloomApi:
    """Sign in to a local cloud as its first person; return the API."""
    record = cloud.status()
    return StoryloomApi(sign_in(record["url"], record["sign_in"]["email"], record["sign_in"]["password"]))


def upload_stories(api: StoryloomApi, folder: Path, console: Console) -> int:
    """Upload every file of a folder with a progress bar; return how many there were."""
    files = story_files(folder)
    total = sum(path.stat().st_size for path, _ in files)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=console, transient=True
    ) as progress:
        task = progress.add_task(f"uploading {len(files)} files", total=total)

        def upload(file: tuple[Path, str]) -> None:
            path, name = file
            with path.open("rb") as content:
                api.upload(progress.wrap_file(content, task_id=task), path.stat().st_size, name)

        # A small file takes a round trip and hardly any sending.
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for _ in pool.map(upload, files):
                pass
    console.print(f"uploaded {len(files)} files from {folder}", highlight=False)
    return len(files)


def upload_and_follow(api: StoryloomApi, folder: Path, console: Console) -> dict[str, Any]:
    """Upload a folder, wait for the run that it starts, follow it to its end; return its record."""
    known = {run["run_id"] for run in api.runs()}
    upload_stories(api, folder, console)
    with console.status("waiting for the run to start"):
        run_id = wait_for_new_run(api, known, timeout_s=120)
    console.print(f"run {run_id}", highlight=False)
    return follow_run(api, run_id, console, RUN_TIMEOUT_S)


def ask(
    api: StoryloomApi, prompt: str, console: Console, model: str = "storyloom", max_tokens: int = 400
) -> ChatReply:
    """Ask once, and print the reply as it arrives."""
    for piece, reply in api.chat([{"role": "user", "content": prompt}], model, max_tokens):
        console.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
        if reply is not None:
            console.print()
            return reply
    raise CommandError("The model returned an empty reply.", "Look at `storyloom runs`, and ask again.")


def demo(config: LocalCloudConfig, stories: Path, console: Console) -> str:
    """Go the whole way once, then stop the cloud (`make demo`); return the result as one JSON line.

    Raises:
        CommandError: the run did not end with a model that answers.
    """
    story_files(stories)  # refuses a wrong folder before anything is started
    shutil.rmtree(config.state, ignore_errors=True)
    started = time.monotonic()
    with running_cloud(config, console) as cloud:
        api = signed_in_api(cloud)
        run = upload_and_follow(api, stories, console)
        if run["status"] != statuses.SUCCEEDED:
            raise CommandError(f"The run ended as {run['status']}: {run.get('message', '')}")
        reply = ask(api, PROMPT, console, max_tokens=DEMO_TOKENS)
        result = demo_result(run, reply, time.monotonic() - started)
    shutil.rmtree(config.state, ignore_errors=True)
    return json.dumps(result, ensure_ascii=False)


def demo_result(run: dict[str, Any], reply: ChatReply, seconds: float) -> dict[str, Any]:
    """Return what `make demo` prints last; the seconds of a state are those of all its visits."""
    steps: dict[str, float] = {}
    for state in run["states"]:
        steps[state["name"]] = round(steps.get(state["name"], 0.0) + (state.get("seconds") or 0.0), 1)
    return {
        "run_id": run["run_id"],
        "status": run["status"],
        "version": run.get("version"),
        "adapter_sha256": run.get("adapter_sha256"),
        "steps": steps,
        "base_perplexity": run["base_perplexity"],
        "tuned_perplexity": run["tuned_perplexity"],
        "prompt": PROMPT,
        "reply": reply.text,
        "first_token_s": round(reply.first_token_s, 3),
        "last_token_s": round(reply.last_token_s, 3),
        "seconds": round(seconds, 1),
    }
