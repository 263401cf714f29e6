"""The steps of `storyloom destroy`: ask, delete the stacks, and list what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from cli.aws.target import AwsTarget, app_name, aws_errors_explained, chosen_target
from cli.console import CommandError, notes, out, print_json
from cli.removal import kept_data
from cli.removal.app_resources import FoundResource, ResourceListing, list_everything, list_service
from cli.removal.stack_deletion import StackDeletion
from cli.user_files import CHECKOUT
from contracts.resource_names import AppNames

_LAG_SECONDS = 20.0
"""How long a service may still list what it has deleted."""


@dataclass(frozen=True)
class RemovalOptions:
    """The options of `storyloom destroy`."""

    yes: bool
    stories: bool
    confirm: str
    as_json: bool


def tear_down(
    options: RemovalOptions, *, state: Path, profile: str, region: str, context: Sequence[str]
) -> bool:
    """Delete the deployment, and list what is left.

    Args:
        options: what to delete, and whether to ask.
        state: folder of the local cloud.
        profile: of the AWS configuration.
        region: of the deployment.
        context: `name=NAME` if the app is not named as in cdk.json.

    Returns:
        True if nothing is left but what is kept.

    Raises:
        CommandError: the deletion cannot continue; it has the cause and the cure.
    """
    started = time.monotonic()
    names = AppNames(app_name(CHECKOUT, context))
    target = chosen_target(CHECKOUT, state, profile, region)
    with aws_errors_explained():
        _confirm(target, names, options)
        steps = _StepPrinter(started)
        deletion = StackDeletion(target, names, steps.print)
        failure = _delete_stacks(deletion)
        _delete_orphaned_roles(target, names, steps)
        if options.stories and failure is None:
            _delete_stories(target, names, deletion, steps)
        listing = _settled_listing(target, names)
    _report(names, listing, deletion, time.monotonic() - started, as_json=options.as_json)
    if failure is not None:
        raise failure
    return not listing.left and not listing.unlisted


@dataclass
class _StepPrinter:
    """Prints a line for each step, with the seconds since the start."""

    started: float

    def print(self, text: str) -> None:
        notes.print(f"{time.monotonic() - self.started:6.0f} s  {text}", highlight=False, markup=False)


def _confirm(target: AwsTarget, names: AppNames, options: RemovalOptions) -> None:
    """Print what is deleted and what stays, and ask for confirmation.

    Raises:
        CommandError: the terminal is not interactive, or the answer was no.
    """
    if options.confirm and options.confirm != names.name:
        raise CommandError(
            f"--confirm names {options.confirm}, and the app is {names.name}. Nothing was deleted."
        )
    kept = kept_data.find_kept_data(target, names)
    notes.print(_plan_in_words(target, names, kept, stories=options.stories), highlight=False, markup=False)
    if not options.yes:
        _require_terminal("Confirm it with --yes.")
        if not typer.confirm(f"Delete {names.name}?", err=True):
            raise CommandError("Nothing was deleted.")
    if options.stories and not options.confirm:
        _require_terminal(f"Confirm it with --confirm {names.name}.")
        if typer.prompt(f"Type {names.name} to delete your stories too", err=True) != names.name:
            raise CommandError("That is not the app's name. Nothing was deleted.")


def _plan_in_words(target: AwsTarget, names: AppNames, kept: kept_data.KeptData, *, stories: bool) -> str:
    size = f"{kept.gigabytes:.1f} GB" if kept.gigabytes >= 0.1 else f"{kept.gigabytes * 1000:.1f} MB"
    deleted = (
        f"This deletes {names.name} in {target.description}: page, API, sign-ins, keys, pipeline, and what "
        "they made: endpoint, jobs, models, logs. Runs in progress are stopped."
    )
    if stories:
        return (
            f"{deleted}\nYOUR STORIES, all versions and all records are deleted too ({size}). "
            "This cannot be undone."
        )
    return (
        f"{deleted}\nYour stories, the versions trained on them and the records stay ({size}: about "
        f"${kept.usd_a_month:.2f} a month); the next deployment as {names.name} continues with them."
    )


def _require_terminal(cure: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            "Not an interactive terminal, so the question cannot be asked. Nothing was deleted.", cure
        )


def _delete_stacks(deletion: StackDeletion) -> CommandError | None:
    """Delete all stacks that can be deleted; return the failure, which is printed after what is left."""
    try:
        deletion.delete_all()
    except CommandError as error:
        return error
    return None


def _delete_orphaned_roles(target: AwsTarget, names: AppNames, steps: _StepPrinter) -> None:
    """Delete the logging roles of earlier deployments: API Gateway uses only the newest of the account."""
    iam = target.client("iam")
    for found in list_service("IAM roles", target, names):
        if found.kept or not found.name.startswith(f"{names.chat_stack}-ApiCloudWatchRole"):
            continue
        steps.print(f"deleting role {found.name}, which an earlier deployment left")
        for policy in iam.list_attached_role_policies(RoleName=found.name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=found.name, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=found.name)


def _delete_stories(target: AwsTarget, names: AppNames, deletion: StackDeletion, steps: _StepPrinter) -> None:
    if deletion.is_deployed(names.storage_stack):
        target.client("cloudformation").update_termination_protection(
            StackName=names.storage_stack, EnableTerminationProtection=False
        )
        deletion.delete(names.storage_stack)
    kept_data.delete_kept_data(target, kept_data.find_kept_data(target, names), steps.print)


def _settled_listing(target: AwsTarget, names: AppNames) -> ResourceListing:
    """List what is left, and again while a service still lists what was just deleted."""
    deadline = time.monotonic() + _LAG_SECONDS
    while True:
        listing = list_everything(target, names)
        if not listing.left or listing.unlisted or time.monotonic() > deadline:
            return listing
        time.sleep(1)


def _report(
    names: AppNames, listing: ResourceListing, deletion: StackDeletion, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "name": names.name,
                "deleted_stacks": deletion.deleted,
                "kept": [_as_document(found) for found in listing.kept],
                "left": [_as_document(found) for found in listing.left],
                "unlisted": list(listing.unlisted),
                "seconds": round(seconds, 1),
            }
        )
        return
    for title, entries in (("Kept:", listing.kept), ("Left, although it should be deleted:", listing.left)):
        if entries:
            out.print(title)
        for found in entries:
            why = f" ({found.kept})" if found.kept else ""
            out.print(f"  {found}{why}", highlight=False, markup=False, soft_wrap=True)
    for sentence in listing.unlisted:
        out.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    if listing.left or listing.unlisted:
        out.print("Run the command again; delete what it cannot remove by hand.")
    else:
        out.print(f"{names.name} is deleted ({seconds:.0f} s). Nothing else is left in any service.")


def _as_document(found: FoundResource) -> dict[str, str]:
    return {"service": found.service, "name": found.name, "why": found.kept}
