"""`storyloom check`: what the pipeline would make of a folder, found out on the user's own machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from cli.app_context import ContextError, read_context
from cli.errors import CommandError
from cli.reading import Line, StoryFile, read_all
from cli.stories_folder import story_files
from stacks import prices
from stacks import settings as app_settings
from stories.dataset import training_plan
from stories.dataset.assembly import assemble
from stories.report.data_report import DataReport

RUN_ID = "check"
_PRICES_OF = "us-east-1"
"""The region whose prices are shown: the command asks AWS nothing."""


def read_settings(checkout: Path, base_model: str, instance: str) -> app_settings.Settings:
    """Read the app's settings from cdk.json, with a base model or an instance in place of its own.

    Raises:
        CommandError: names every setting that is wrong.
    """
    try:
        context = read_context(checkout)
    except ContextError as error:
        raise CommandError(str(error), error.cure) from error
    if base_model:
        # The commit in cdk.json is another model's; a gated one's token is asked for at its deployment.
        context |= {"base_model": base_model, "base_model_revision": "", "huggingface_token_secret": "later"}
    if instance:
        context["training_instance"] = instance
    # What the finished model answers from makes no difference to the dataset.
    context["hosting_instance"] = context["training_instance"]
    try:
        return app_settings.read(context)
    except app_settings.SettingsError as error:
        faults = [str(fault) for fault in error.faults if fault.key != "hosting_instance"]
        raise CommandError(
            "\n".join(faults), "Give others with --base-model and --instance, or in cdk.json."
        ) from error


def check(folder: Path, settings: app_settings.Settings, console: Console) -> DataReport:
    """Read, clean and assemble a folder's files, and report on them as the pipeline would.

    Args:
        folder: of stories, or one file.
        settings: of the app.
        console: where progress is shown.

    Raises:
        CommandError: there is nothing to read.
    """
    today = date.today().isoformat()
    price = prices.known(settings, "training", settings.training_instance, _PRICES_OF, today)
    files = [StoryFile(path, key, path.stat().st_size) for path, key in story_files(folder)]
    options = training_plan.dataset_options(
        RUN_ID,
        settings.model,
        minimum_words=settings.minimum_words,
        instance=settings.training_instance,
        instances=settings.instance_count,
        spot=settings.spot,
        max_training_minutes=settings.max_training_minutes,
        usd_per_hour=price.usd_per_hour if price else None,
        price_month=price.month if price else "",
        price_source=price.source if price else "",
    )
    with tempfile.TemporaryDirectory(prefix="storyloom-check-") as temporary:
        dataset = Path(temporary) / "dataset"
        read = Path(temporary) / "read"
        dataset.mkdir()
        read.mkdir()
        with _progress(files, console) as bar, closing(read_all(files, bar.advance, read)) as lines:
            return assemble(bar.until_all_read(lines), options, dataset)


@dataclass
class _Bar:
    """A bar that fills with the bytes read, then a line that says that it goes on."""

    progress: Progress
    files: int
    size: int

    def __post_init__(self) -> None:
        self._task = self.progress.add_task(f"reading {self.files:,} files", total=self.size)

    def advance(self, size: int) -> None:
        self.progress.advance(self._task, size)

    def until_all_read(self, lines: Iterator[Line]) -> Iterator[Line]:
        yield from lines
        self.progress.update(self._task, description="comparing and dividing the stories")


@contextmanager
def _progress(files: list[StoryFile], console: Console) -> Iterator[_Bar]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, len(files), sum(file.size for file in files))
