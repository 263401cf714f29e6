"""`storyloom keys`: API keys for programs, listed, made and revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.api import StoryloomApi
from cli.connection import connect
from cli.output import AsJson, print_json
from cli.terminal import PlainConsole

app = typer.Typer(
    help="API keys for programs: list, create, revoke.",
    invoke_without_command=True,
)
out = PlainConsole()
_SOON = timedelta(days=14)


class Scope(StrEnum):
    """What a key allows."""

    CHAT = "chat"
    READ = "read"
    WRITE = "write"


Name = Annotated[str, typer.Argument(help="What you call it, such as the program that will use it.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `storyloom keys` lists it.")]
Scopes = Annotated[
    list[Scope],
    typer.Option(
        "--scope",
        help="What it allows; give it again for another. chat: ask the model. read: runs, versions and "
        "stories. write: upload, delete, start, stop and answer runs, decide on versions.",
    ),
]
PerMinute = Annotated[int, typer.Option("--per-minute", help="How often it may ask in a minute.")]
Days = Annotated[int, typer.Option("--days", min=1, max=365, help="After how many days it ends by itself.")]


@app.callback()
def keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List your keys, newest first, those that have ended too; an owner sees everybody's."""
    if context.invoked_subcommand is not None:
        return
    listed = StoryloomApi(connect()).keys()
    if as_json:
        print_json(listed)
    elif listed:
        out.print(keys_table(listed))
    else:
        out.print("There is no key yet. Make one with: storyloom keys create NAME --scope chat")


@app.command()
def create(
    name: Name, scopes: Scopes, per_minute: PerMinute = 60, days: Days = 90, as_json: AsJson = False
) -> None:
    """Make a key, and show it, once. It ends with its days, and with your own sign-in.

    Examples:

      storyloom keys create nightly --scope chat --scope read --per-minute 60

      storyloom keys create uploader --scope write --json | jq -r .key
    """
    made = StoryloomApi(connect()).create_key(name, [str(scope) for scope in scopes], per_minute, days)
    if as_json:
        print_json(made)
        return
    # A terminal that is narrower than the key must not cut it into lines.
    out.print(made["key"], highlight=False, markup=False, soft_wrap=True)
    out.print(
        f"Keep it now: it is not shown again. It works until {made['expires_at'][:10]}.", highlight=False
    )
    out.print(f"Revoke it with: storyloom keys revoke {made['key_id']}", highlight=False, markup=False)


@app.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """Have a key work no longer, from the next request on. Again changes nothing."""
    revoked = StoryloomApi(connect()).revoke_key(key_id)
    if as_json:
        print_json(revoked)
    else:
        out.print(f"{revoked['name']} ({key_id}) works no longer.", highlight=False, markup=False)


def keys_table(listed: list[dict[str, Any]]) -> Table:
    """One line a key."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "name", "scopes", "a minute", "made", "by", "last used", "ends"):
        table.add_column(column)
    for key in listed:
        table.add_row(
            key["key_id"],
            _plain(key["name"]),
            " ".join(key["scopes"]),
            str(key["requests_per_minute"]),
            key["created_at"][:10],
            _plain(key["created_by_email"]),
            key.get("last_used_on") or "",
            _end(key),
        )
    return table


def _end(key: dict[str, Any]) -> Text:
    """Say when a key ends or has ended; one that ends within two weeks stands out."""
    if key.get("revoked_at"):
        return Text(f"revoked {key['revoked_at'][:10]}")
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    if left <= timedelta(0):
        return Text(f"ended {key['expires_at'][:10]}")
    return Text(key["expires_at"][:10], style="bold yellow" if left < _SOON else "")


def _plain(text: str) -> Text:
    # A name is what somebody typed; rich would read [brackets] in it as a style.
    return Text(text)
