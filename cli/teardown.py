"""What `storyloom destroy` does: ask, delete the stacks, and list what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from cli import kept_data
from cli.app_names import AppNames
from cli.app_resources import Found, Listing, list_everything, list_service
from cli.aws_target import AwsTarget, app_name, chosen_target, explained
from cli.errors import CommandError
from cli.output import print_json
from cli.stack_deletion import StackDeletion
from cli.terminal import PlainConsole

out = PlainConsole()
notes = PlainConsole(stderr=True)

_CHECKOUT = Path(__file__).resolve().parent.parent
_LAG_SECONDS = 20.0
"""How long a service may go on listing what it has deleted."""


@dataclass(frozen=True)
class Choices:
    """Options of the command line."""

    yes: bool
    stories: bool
    confirm: str
    as_json: bool


def tear_down(choices: Choices, *, state: Path, profile: str, region: str, context: Sequence[str]) -> bool:
    """Delete the deployment.

    Args:
        choices: what to delete, and whether to ask.
        state: folder of the local cloud.
        profile: of the AWS configuration.
        region: of the deployment.
        context: `name=NAME` if the app is not named as in cdk.json.

    Returns:
        Whether nothing is left but what is kept.

    Raises:
        CommandError: it cannot go on; the message has the cause and the cure.
    """
    started = time.monotonic()
    names = AppNames(app_name(_CHECKOUT, context))
    target = chosen_target(_CHECKOUT, state, profile, region)
    with explained():
        _ask(target, names, choices)
        steps = _Steps(started)
        deletion = StackDeletion(target, names, steps.tell)
        failure = _delete_stacks(deletion)
        _delete_orphaned_roles(target, names, steps)
        if choices.stories and failure is None:
            _delete_stories(target, names, deletion, steps)
        listing = _settled_listing(target, names)
    _report(names, listing, deletion, time.monotonic() - started, as_json=choices.as_json)
    if failure is not None:
        raise failure
    return not listing.left and not listing.unlisted


@dataclass
class _Steps:
    """Prints a line for each step, with the seconds since the start."""

    started: float

    def tell(self, text: str) -> None:
        notes.print(f"{time.monotonic() - self.started:6.0f} s  {text}", highlight=False, markup=False)


def _ask(target: AwsTarget, names: AppNames, choices: Choices) -> None:
    """Say what goes and what stays, and go on after a yes.

    Raises:
        CommandError: there is no terminal to ask on, or the answer was no.
    """
    if choices.confirm and choices.confirm != names.name:
        raise CommandError(
            f"--confirm names {choices.confirm}, and the app is {names.name}. Nothing was deleted."
        )
    kept = kept_data.find(target, names)
    notes.print(_says(target, names, kept, stories=choices.stories), highlight=False, markup=False)
    if not choices.yes:
        _require_terminal("Confirm it with --yes.")
        if not typer.confirm(f"Delete {names.name}?", err=True):
            raise CommandError("Nothing was deleted.")
    if choices.stories and not choices.confirm:
        _require_terminal(f"Confirm it with --confirm {names.name}.")
        if typer.prompt(f"Type {names.name} to delete your stories too", err=True) != names.name:
            raise CommandError("That is not the app's name. Nothing was deleted.")


def _says(target: AwsTarget, names: AppNames, kept: kept_data.KeptData, *, stories: bool) -> str:
    size = f"{kept.gigabytes:.1f} GB" if kept.gigabytes >= 0.1 else f"{kept.gigabytes * 1000:.1f} MB"
    going = (
        f"This deletes {names.name} in {target.called}: page, API, sign-ins, keys, pipeline, and what they "
        "made: endpoint, jobs, models, logs. Runs in progress are stopped."
    )
    if stories:
        return (
            f"{going}\nYOUR STORIES, all versions and all records go too ({size}). Nothing brings them back."
        )
    return (
        f"{going}\nYour stories, the versions made of them and the records stay ({size}: about "
        f"${kept.usd_a_month:.2f} a month); the next deployment as {names.name} goes on with them."
    )


def _require_terminal(cure: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            "Not an interactive terminal, so the question cannot be asked. Nothing was deleted.", cure
        )


def _delete_stacks(deletion: StackDeletion) -> CommandError | None:
    """Delete what can be deleted; returns what could not, which is told after the list of what is left."""
    try:
        deletion.delete_all()
    except CommandError as error:
        return error
    return None


def _delete_orphaned_roles(target: AwsTarget, names: AppNames, steps: _Steps) -> None:
    """Delete the logging roles of earlier deployments: API Gateway keeps one for the account, the newest."""
    iam = target.client("iam")
    for found in list_service("IAM roles", target, names):
        if found.kept or not found.name.startswith(f"{names.title}-Chat-ApiCloudWatchRole"):
            continue
        steps.tell(f"deleting role {found.name}, which an earlier deployment left")
        for policy in iam.list_attached_role_policies(RoleName=found.name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=found.name, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=found.name)


def _delete_stories(target: AwsTarget, names: AppNames, deletion: StackDeletion, steps: _Steps) -> None:
    if deletion.is_deployed(names.storage_stack):
        target.client("cloudformation").update_termination_protection(
            StackName=names.storage_stack, EnableTerminationProtection=False
        )
        deletion.delete(names.storage_stack)
    kept_data.delete(target, kept_data.find(target, names), steps.tell)


def _settled_listing(target: AwsTarget, names: AppNames) -> Listing:
    """List every service, again while one still lists what was just deleted."""
    deadline = time.monotonic() + _LAG_SECONDS
    while True:
        listing = list_everything(target, names)
        if not listing.left or listing.unlisted or time.monotonic() > deadline:
            return listing
        time.sleep(1)


def _report(
    names: AppNames, listing: Listing, deletion: StackDeletion, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "name": names.name,
                "deleted_stacks": deletion.deleted,
                "kept": [_shown(found) for found in listing.kept],
                "left": [_shown(found) for found in listing.left],
                "unlisted": list(listing.unlisted),
                "seconds": round(seconds, 1),
            }
        )
        return
    for title, entries in (("Kept:", listing.kept), ("Left, although it should be gone:", listing.left)):
        if entries:
            out.print(title)
        for found in entries:
            why = f" ({found.kept})" if found.kept else ""
            out.print(f"  {found}{why}", highlight=False, markup=False, soft_wrap=True)
    for sentence in listing.unlisted:
        out.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    if listing.left or listing.unlisted:
        out.print("Run the command again; what it cannot remove has to be deleted by hand.")
    else:
        out.print(f"{names.name} is gone ({seconds:.0f} s). Nothing else is left in any service.")


def _shown(found: Found) -> dict[str, str]:
    return {"service": found.service, "name": found.name, "why": found.kept}
