"""`storyloom keys`: list, create and revoke API keys for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, out, print_json

app = typer.Typer(
    help="API keys for programs: list, create, revoke.",
    invoke_without_command=True,
)
_SOON = timedelta(days=14)


class KeyScope(StrEnum):
    """What a key allows its program to do."""

    CHAT = "chat"
    READ = "read"
    WRITE = "write"


Name = Annotated[str, typer.Argument(help="A name for it, such as the program that will use it.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `storyloom keys` lists it.")]
Scopes = Annotated[
    list[KeyScope],
    typer.Option(
        "--scope",
        help="What it allows; repeat it for more. chat: use the model. read: runs, versions and stories. "
        "write: upload, delete; start, stop, approve and decline runs; activate, approve, reject versions.",
    ),
]
PerMinute = Annotated[int, typer.Option("--per-minute", help="Requests that it may send in a minute.")]
Days = Annotated[int, typer.Option("--days", min=1, max=365, help="Days until it expires.")]


@app.callback()
def keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List your keys, newest first, also expired and revoked ones; an owner sees everybody's."""
    if context.invoked_subcommand is not None:
        return
    listed = StoryloomApi(connect()).keys()
    if as_json:
        print_json(listed)
    elif listed:
        out.print(keys_table(listed))
    else:
        out.print("There is no key yet. Create one with: storyloom keys create NAME --scope chat")


@app.command()
def create(
    name: Name, scopes: Scopes, per_minute: PerMinute = 60, days: Days = 90, as_json: AsJson = False
) -> None:
    """Create a key, and show it once. It expires after its days, or when you can no longer sign in.

    Examples:

      storyloom keys create nightly --scope chat --scope read --per-minute 60

      storyloom keys create uploader --scope write --json | jq -r .key
    """
    created = StoryloomApi(connect()).create_key(name, [str(scope) for scope in scopes], per_minute, days)
    if as_json:
        print_json(created)
        return
    # In a terminal that is narrower than the key, it must not be wrapped.
    out.print(created["key"], highlight=False, markup=False, soft_wrap=True)
    out.print(
        f"Store it now: it is not shown again. It expires on {created['expires_at'][:10]}.", highlight=False
    )
    out.print(f"Revoke it with: storyloom keys revoke {created['key_id']}", highlight=False, markup=False)


@app.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """Revoke a key: it is refused from the next request on."""
    revoked = StoryloomApi(connect()).revoke_key(key_id)
    if as_json:
        print_json(revoked)
    else:
        out.print(f"{revoked['name']} ({key_id}) is revoked.", highlight=False, markup=False)


def keys_table(listed: list[dict[str, Any]]) -> Table:
    """Draw one line for each key."""
    table = Table(box=None, header_style="bold")
    for column in ("id", "name", "scopes", "a minute", "created", "by", "last used", "expires"):
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
            _expiry(key),
        )
    return table


def _expiry(key: dict[str, Any]) -> Text:
    """Return when a key expires or has expired, in bold if that is within two weeks."""
    if key.get("revoked_at"):
        return Text(f"revoked {key['revoked_at'][:10]}")
    left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    if left <= timedelta(0):
        return Text(f"expired {key['expires_at'][:10]}")
    return Text(key["expires_at"][:10], style="bold yellow" if left < _SOON else "")


def _plain(text: str) -> Text:
    # rich would read [brackets] in a name as a style.
    return Text(text)
