"""What every command has in common: printing one JSON document with ``--json``."""

import json
import sys
from typing import Annotated, Any

import typer

from cli.terminal import visible_json

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]


def print_json(content: Any) -> None:
    """Print a value as one line of JSON on standard output."""
    sys.stdout.write(visible_json(json.dumps(content, ensure_ascii=False)) + "\n")
