"""`storyloom chat`, `wake` and `sleep`: chat with the model, and start or stop its instance."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import journey
from cli.api.client import StoryloomApi
from cli.api.connection import connect
from cli.console import AsJson, notes, out, print_json, print_message


def wake(as_json: AsJson = False) -> None:
    """Wake the model, so that it is ready when you write. Its instance costs until the model sleeps again."""
    print_message(StoryloomApi(connect()).wake(), as_json)


def sleep(as_json: AsJson = False) -> None:
    """Put the model to sleep now, for everybody: its instance stops and costs nothing. A message wakes it."""
    print_message(StoryloomApi(connect()).sleep(), as_json)


def chat(
    prompt: Annotated[str | None, typer.Argument(help="Ask once; without it, chat until Ctrl-D.")] = None,
    model: Annotated[str, typer.Option(help="storyloom (the live version), base, or v1, v2 …")] = "storyloom",
    as_json: AsJson = False,
) -> None:
    """Chat with the model. If it is asleep, it wakes first, which takes a few minutes on AWS."""
    api = StoryloomApi(connect())
    if prompt is not None:
        reply = journey.ask(api, prompt, notes if as_json else out, model)
        if as_json:
            print_json(reply.__dict__)
        return
    messages: list[dict[str, str]] = []
    while True:
        try:
            messages.append({"role": "user", "content": out.input("[bold]you[/] ")})
        except EOFError:
            out.print()
            return
        for piece, whole in api.chat(messages, model):
            out.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
            if whole is not None:
                messages.append({"role": "assistant", "content": whole.text})
        out.print("\n")
