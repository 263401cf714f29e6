"""The whole way in one command: start, deploy, drop the stories in, follow the run, chat."""

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

from cli.api import Answer, StoryloomApi
from cli.connection import sign_in
from cli.errors import CommandError
from cli.progress import follow_run, wait_for_new_run
from cli.stories_folder import story_files
from local.aws.account.account_file import Profile
from local.cloud import LocalCloud

PROMPT = "Tell me a story about a lost umbrella."
RUN_TIMEOUT_S = 3600
UPLOADS_AT_ONCE = 4
WATCH_SECONDS = 1.0
"""How often a command that stays up looks whether its cloud still runs."""
TAKE_DOWN_SECONDS = 10.0
DEMO_SETTINGS = {"max_training_minutes": "2"}
"""So that the whole way takes under six minutes; `make run`, whose model is talked with, trains for three."""
DEMO_TOKENS = 160
"""Enough to hear the voice; two cores write about ten tokens a second."""


@dataclass(frozen=True)
class Places:
    """Where a local cloud lives, on which ports, and settings of its app beside the local ones."""

    checkout: Path
    state: Path
    port: int
    page_port: int
    context: Mapping[str, str] = field(default_factory=dict)
    account: Profile = "usual"

    def cloud(self) -> LocalCloud:
        """The local cloud of these places, not started."""
        return LocalCloud(self.checkout, self.state, self.port, self.page_port, self.context, self.account)


def free_port(preferred: int) -> int:
    """`preferred` where nobody listens on it, else a port that the system gives."""
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
def running_cloud(places: Places, console: Console) -> Iterator[LocalCloud]:
    """Start a local cloud, deploy the app to it, and stop it at the end of the block, whatever happens."""
    cloud = places.cloud()
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
    """Brings AWS on this machine up and deploys the app to it, saying what it does and how long it took."""
    started = time.monotonic()
    with console.status("starting AWS on this machine"):
        cloud.up()
    console.print(f"AWS on this machine is up ({time.monotonic() - started:.0f} s)", highlight=False)
    started = time.monotonic()
    with console.status("deploying") as status:
        cloud.deploy(_DeployLines(console, status.update))
    console.print(f"deployed ({time.monotonic() - started:.0f} s)", highlight=False)


class _DeployLines:
    """Of the CDK's many lines a person sees the newest; what stays is a line a stack."""

    def __init__(self, console: Console, show: Callable[[str], None]) -> None:
        self._console = console
        self._show = show

    def __call__(self, line: str) -> None:
        words = line.strip()
        self._show(f"deploying: {escape(words[: self._console.width - 20])}")
        if words.startswith(("✅", "❌", "Converting", "Staging")):
            self._console.print(f"  {words}", highlight=False, markup=False)


def signed_in(cloud: LocalCloud) -> StoryloomApi:
    """The API as the first person of a local cloud."""
    record = cloud.status()
    return StoryloomApi(sign_in(record["url"], record["sign_in"]["email"], record["sign_in"]["password"]))


def drop_stories(api: StoryloomApi, folder: Path, console: Console) -> int:
    """Uploads every file of a folder with a progress bar; gives how many there were."""
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

        # Small files wait for answers most of the time.
        with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
            for _ in pool.map(upload, files):
                pass
    console.print(f"uploaded {len(files)} files from {folder}", highlight=False)
    return len(files)


def drop_and_follow(api: StoryloomApi, folder: Path, console: Console) -> dict[str, Any]:
    """Drops a folder in, waits for the run that it starts, follows it to its end and gives its record."""
    known = {run["run_id"] for run in api.runs()}
    drop_stories(api, folder, console)
    with console.status("waiting for the bucket to be quiet"):
        run_id = wait_for_new_run(api, known, timeout_s=120)
    console.print(f"run {run_id}", highlight=False)
    return follow_run(api, run_id, console, RUN_TIMEOUT_S)


def ask(
    api: StoryloomApi, prompt: str, console: Console, model: str = "storyloom", max_tokens: int = 400
) -> Answer:
    """Asks once, printing the answer as it comes."""
    for piece, answer in api.chat([{"role": "user", "content": prompt}], model, max_tokens):
        console.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
        if answer is not None:
            console.print()
            return answer
    raise CommandError("The model gave no answer.", "Look at `storyloom runs`, and ask again.")


def demo(places: Places, stories: Path, console: Console) -> str:
    """`make demo`: the journey without staying up. Gives its result as one JSON line.

    Raises:
        CommandError: the run did not end with a model that answers.
    """
    story_files(stories)  # a wrong folder is said before anything is started
    shutil.rmtree(places.state, ignore_errors=True)
    started = time.monotonic()
    with running_cloud(places, console) as cloud:
        api = signed_in(cloud)
        run = drop_and_follow(api, stories, console)
        if run["status"] != "succeeded":
            raise CommandError(f"The run ended as {run['status']}: {run.get('message', '')}")
        answer = ask(api, PROMPT, console, max_tokens=DEMO_TOKENS)
        result = demo_result(run, answer, time.monotonic() - started)
    shutil.rmtree(places.state, ignore_errors=True)
    return json.dumps(result, ensure_ascii=False)


def demo_result(run: dict[str, Any], answer: Answer, seconds: float) -> dict[str, Any]:
    """What `make demo` ends with: the seconds of each state add up its visits."""
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
        "reply": answer.text,
        "first_token_s": round(answer.first_token_s, 3),
        "last_token_s": round(answer.last_token_s, 3),
        "seconds": round(seconds, 1),
    }
