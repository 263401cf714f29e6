"""Writes the doctor's table of a new account into docs/deploying.md, from a run against the local cloud.

python -m docs.pictures.doctor
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.journey import port_or_free_port
from local.cloud import LocalCloud
from tests.local.doctor.hub import running_hub

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "deploying.md"
_TABLE = re.compile(r"(<!-- the doctor's table -->\n```\n).*?(```\n<!-- end)", re.DOTALL)
_COLUMNS = "118"


def main() -> None:
    """Run the doctor once, and put what it prints into the page."""
    with tempfile.TemporaryDirectory() as state, running_hub() as hub:
        cloud = LocalCloud(
            CHECKOUT, Path(state) / "state", port_or_free_port(4566), port_or_free_port(8400), account="new"
        )
        try:
            cloud.up()
            printed = _printed(cloud, hub)
        finally:
            cloud.down()
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    PAGE.write_text(_TABLE.sub(lambda found: f"{found[1]}{lines}\n{found[2]}", PAGE.read_text()))


def _printed(cloud: LocalCloud, hub: str) -> str:
    variables = {"HF_ENDPOINT": hub, "COLUMNS": _COLUMNS}
    command = [sys.executable, "-m", "cli", "doctor"]
    environment = {**os.environ, **cloud.environment(), **variables}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


if __name__ == "__main__":
    main()
