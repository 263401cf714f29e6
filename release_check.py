"""Checks that a version can be released: `make release VERSION=x.y.z` runs this before the tests and the tag.

A release is described by CHANGELOG.md and carries the version of pyproject.toml and web/package.json.
"""

import json
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def problems(checkout: Path, version: str, today: date) -> list[str]:
    """Return what keeps a version from being released, each with its cure."""
    if not _VERSION.fullmatch(version):
        return [f"{version!r} is not a version. Give one: make release VERSION=0.2.0"]
    found = []
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    page = json.loads((checkout / "web" / "package.json").read_text(encoding="utf-8"))["version"]
    for file, written in (("pyproject.toml", project), ("web/package.json", page)):
        if written != version:
            found.append(f"{file} has version {written}. Change it to {version}.")
    changelog = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = f"## [{version}] - {today.isoformat()}"
    if heading not in changelog.splitlines():
        found.append(f"CHANGELOG.md has no heading `{heading}`. Rename `## [Unreleased]` to it.")
    if _git(checkout, "status", "--porcelain"):
        found.append("There are changes that are not committed. Commit them.")
    if _git(checkout, "branch", "--show-current") != "main":
        found.append("This is not the branch main. Run: git switch main")
    if _git(checkout, "tag", "--list", f"v{version}"):
        found.append(f"The tag v{version} already exists. Choose the next version.")
    return found


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    found = problems(CHECKOUT, sys.argv[1], date.today())
    if found:
        sys.exit("\n".join(found))
