"""The `storyloom` command: all commands together, with their errors as two lines and an exit code."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.api.addresses import page_address
from cli.api.connection import sign_in_and_keep
from cli.commands import batches, chat, costs, destroy, keys, local, models, people, runs, stories
from cli.console import CommandError, notes
from cli.doctor.command import doctor
from cli.verify.command import verify
from local.aws.errors import LocalCloudError

app = typer.Typer(
    help="Storyloom: your stories in, your own story-telling model out.\n\n"
    "Commands use the local cloud of this checkout while it is up (`make run`), "
    "else the deployment that you signed in to with `storyloom login`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; print an error with its cure on standard error, and exit with 1."""
    try:
        app()
    except (CommandError, LocalCloudError) as error:
        notes.print(str(error), style="red", highlight=False, markup=False)
        if isinstance(error, CommandError) and error.cure:
            notes.print(error.cure, highlight=False, markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


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
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, help="Asked for, never stored.")],
) -> None:
    """Sign in to a Storyloom on AWS, once; later commands use this sign-in."""
    kept = sign_in_and_keep(url, email, password)
    notes.print(f"signed in; stored in {kept} (delete that file to sign out)", highlight=False)


for command in (
    stories.check,
    stories.upload,
    stories.delete,
    runs.runs,
    runs.start,
    runs.stop,
    runs.approve,
    runs.decline,
    chat.chat,
    chat.wake,
    chat.sleep,
    batches.batch,
    costs.costs,
    people.audit,
    doctor,
    verify,
    destroy.destroy,
):
    app.command()(command)

for group, name in (
    (models.app, "models"),
    (keys.app, "keys"),
    (people.app, "people"),
    (local.app, "local"),
):
    app.add_typer(group, name=name)
