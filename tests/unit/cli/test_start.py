"""How soon the command line is there: a person waits for it before each command."""

import subprocess
import sys

SLOW_TO_LOAD = {"boto3", "openai", "torch", "transformers", "stories.reading.file_reader", "aws_cdk"}


def test_a_command_loads_only_what_it_needs() -> None:
    program = "import sys, cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "typer" in loaded.stdout.split()
    assert SLOW_TO_LOAD & set(loaded.stdout.split()) == set()
