"""The commands `storyloom people`, which manages who may sign in, and `storyloom audit`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, CommandError, out, print_json
from contracts import roles

app = typer.Typer(help="People: list, invite, remove, change a role. For owners.", no_args_is_help=True)


class PersonRole(StrEnum):
    """What a person may do."""

    READER = roles.READER
    AUTHOR = roles.AUTHOR
    OWNER = roles.OWNER


Email = Annotated[str, typer.Argument(help="The person's e-mail address.")]
_ROLES = "reader: chat. author: also stories, runs, versions and own keys. owner: also people."


@app.command("list")
def list_people(as_json: AsJson = False) -> None:
    """List everybody who may sign in."""
    listed = StoryloomApi(connect()).people()
    print_json(listed) if as_json else out.print(people_table(listed))


@app.command()
def invite(
    email: Email,
    role: Annotated[PersonRole, typer.Option(help=_ROLES)] = PersonRole.READER,
    as_json: AsJson = False,
) -> None:
    """Invite a person. They get a one-time password by e-mail, valid for seven days.

    Examples:

      storyloom people invite ada@example.com

      storyloom people invite grace@example.com --role author
    """
    person = StoryloomApi(connect()).invite_person(email, str(role))
    _print_done(person, f"{person['email']} is invited as {person['role']}.", as_json)


@app.command()
def remove(email: Email, as_json: AsJson = False) -> None:
    """Remove a person. Their sign-in and their keys are refused within a minute, for good."""
    api = StoryloomApi(connect())
    person = api.remove_person(_find(api, email)["id"])
    _print_done(
        person, f"{person['email']} is removed. Sign-in and keys are refused within a minute.", as_json
    )


@app.command()
def role(
    email: Email, role: Annotated[PersonRole, typer.Argument(help=_ROLES)], as_json: AsJson = False
) -> None:
    """Change a person's role. The change takes effect within a minute, for their keys as well."""
    api = StoryloomApi(connect())
    person = api.change_role(_find(api, email)["id"], str(role))
    _print_done(person, f"{person['email']} is now {person['role']}.", as_json)


def audit(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many entries.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List who changed what, newest first, for owners; entries are kept for a year."""
    entries = StoryloomApi(connect()).audit_trail(limit)
    print_json(entries) if as_json else out.print(audit_table(entries))


def people_table(listed: list[dict[str, Any]]) -> Table:
    """Return a table with one row per person."""
    table = Table(box=None, header_style="bold")
    for column in ("e-mail", "role", "state", "invited", "id"):
        table.add_column(column)
    for person in listed:
        table.add_row(
            Text(person["email"] + (" (you)" if person["you"] else "")),
            person["role"] or "none: nothing is allowed",
            _state(person),
            (person.get("invited_at") or "")[:10],
            person["id"],
        )
    return table


def audit_table(entries: list[dict[str, Any]]) -> Table:
    """Return a table with one row per entry of the audit trail."""
    table = Table(box=None, header_style="bold")
    for column in ("when (UTC)", "who", "did", "to", "outcome"):
        table.add_column(column)
    for entry in entries:
        table.add_row(
            entry["at"][:19].replace("T", " "),
            Text(entry["principal_name"]),
            Text(entry["action"]),
            Text(entry["object"]),
            _outcome(entry),
        )
    return table


def _outcome(entry: dict[str, Any]) -> str:
    times = entry.get("count", 1)  # a deployment of an earlier release does not send it
    return str(entry["status"]) if times == 1 else f"{entry['status']}, {times:,} times"


def _state(person: dict[str, Any]) -> str:
    if not person["enabled"]:
        return "disabled"
    return "signed in before" if person["has_signed_in"] else "invited"


def _find(api: StoryloomApi, email: str) -> dict[str, Any]:
    found = [person for person in api.people() if person["email"].lower() == email.lower()]
    if not found:
        raise CommandError(f"Nobody has the address {email}.", "List everybody with: storyloom people list")
    return found[0]


def _print_done(person: dict[str, Any], words: str, as_json: bool) -> None:
    print_json(person) if as_json else out.print(words, highlight=False, markup=False)
