"""`storyloom check`, `upload` and `delete`: the stories of a folder, and those in the bucket."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import journey
from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, notes, out, print_json, print_message
from cli.user_files import CHECKOUT, cached_page, open_in_browser, write_private

Folder = Annotated[Path, typer.Argument(help="A folder of stories, or one file.")]


def check(
    folder: Folder,
    *,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page into this file.")] = None,
    show_page: Annotated[bool, typer.Option("--open/--no-open", help="Show the page in the browser.")] = True,
    base_model: Annotated[str, typer.Option(help="Another base model than cdk.json's: qwen3-4b, …")] = "",
    instance: Annotated[
        str, typer.Option(help="Another training instance than cdk.json's, such as ml.g6e.xlarge.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """See what your stories will make, before anything is uploaded or spent.

    Reads a folder on this machine exactly as the pipeline would: lists the files that can be used, why the
    others cannot and what helps, whether there is enough text, and what training would take and cost. Nothing
    leaves this machine, and nothing in the folder is changed. Hidden files and folders, and links to folders,
    are left out, as `storyloom upload` does.

    Exit code 0: there is enough to begin. 1: not yet, or the folder cannot be read.

    Examples:

      storyloom check ~/stories

      storyloom check ~/stories --base-model llama-3.1-8b --instance ml.g6e.xlarge

      storyloom check ~/stories --json | jq .cost_at_most_usd
    """
    # The readers take a third of a second to load, which no other command has to wait.
    from cli.check_summary import summary_of  # noqa: PLC0415 (slow)
    from cli.folder_check import check_folder, read_settings  # noqa: PLC0415 (slow)
    from stories.report.report_page import report_to_html  # noqa: PLC0415 (slow)

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
        out.print(summary_of(report), highlight=False)
    page = html or cached_page("check.html")
    if html is not None or (show_page and not as_json):
        write_private(page, report_to_html(report))
        shown = show_page and not as_json and open_in_browser(page)
        notes.print(
            f"{'shown in the browser' if shown else 'the page'}: {page}", highlight=False, markup=False
        )
    if not report.enough:
        raise typer.Exit(1)


def upload(folder: Folder, as_json: AsJson = False) -> None:
    """Upload stories into the bucket. A run starts by itself when no story has arrived for a while."""
    api = StoryloomApi(connect())
    count = journey.upload_stories(api, folder, notes)
    if as_json:
        print_json({"files": count, "stories_in_bucket": len(api.stories())})


def delete(
    key: Annotated[str, typer.Argument(help="The story's key: its file name, with its folders.")],
    as_json: AsJson = False,
) -> None:
    """Delete a story from the bucket. The bucket keeps its text; the command prints how to restore it."""
    print_message(StoryloomApi(connect()).delete_story(key), as_json)
