"""Checks of this checkout: what `make setup` installs, and `cdk deploy` needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cli.doctor.examination import Examination
from cli.doctor.findings import Finding, fault, ok, warning
from stacks.functions.function_groups import GROUPS
from stacks.functions.function_packages import packages_folder

_OLDEST_PYTHON = (3, 11)
_OLDEST_NODE = 18
_SETUP = "Run: make setup"
_SECONDS = 10


def python(examination: Examination) -> Iterator[Finding]:
    """Check Python and the packages of the CDK app."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        yield fault("Python", f"{version}, and 3.11 is needed", "Run: make setup PYTHON=python3.12")
        return
    wanted = _pinned(examination.checkout / "requirements.txt", "aws-cdk-lib")
    try:
        installed = metadata.version("aws-cdk-lib")
    except metadata.PackageNotFoundError:
        yield fault("Python", f"{version}, without the package aws-cdk-lib", _SETUP)
        return
    if wanted and installed != wanted:
        yield fault("Python", f"{version} with aws-cdk-lib {installed}; the app is made for {wanted}", _SETUP)
        return
    yield ok("Python", f"{version} with aws-cdk-lib {installed}")


def node(examination: Examination) -> Iterator[Finding]:
    """Check Node and the CDK CLI."""
    package = examination.checkout / "node_modules" / "aws-cdk" / "package.json"
    try:
        cdk = str(json.loads(package.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        yield fault("CDK CLI", "is not installed in this checkout", _SETUP)
        return
    # An activated .venv finds the Node that setup installed; a bare shell may have another, or none.
    own = examination.checkout / ".venv" / "bin"
    program = shutil.which("node") or shutil.which("node", path=str(own))
    if program is None:
        yield fault("CDK CLI", f"{cdk}, but Node is not installed", _SETUP)
        return
    asked = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    version = asked.stdout.strip().lstrip("v")
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < _OLDEST_NODE:
        yield fault(
            "CDK CLI",
            f"{cdk} needs Node {_OLDEST_NODE} or newer, and {program} is {version or 'broken'}",
            "Use the one of make setup: source .venv/bin/activate",
        )
        return
    if shutil.which("node") is None:
        yield warning(
            "CDK CLI",
            f"{cdk}, with a Node {version} that this shell does not find",
            "Run: source .venv/bin/activate",
        )
        return
    yield ok("CDK CLI", f"{cdk}, with Node {version}")


def setup_done(examination: Examination) -> Iterator[Finding]:
    """Check that the page is built and the functions' packages are fetched."""
    subject, checkout = "make setup", examination.checkout
    missing = [] if (checkout / "web" / "dist" / "index.html").exists() else ["the page is not built"]
    version = examination.settings.function_python
    absent = [group.name for group in GROUPS if not packages_folder(group, version).is_dir()]
    if absent:
        missing.append(
            f"the packages of the functions for Python {version} are not fetched ({', '.join(absent)})"
        )
    if missing:
        other = f"   (or: python -m stacks.functions.function_packages --python {version})" if absent else ""
        yield fault(subject, "; ".join(missing), _SETUP + other)
        return
    if _out_of_date(checkout):
        yield warning(subject, "was run, but files that it uses have changed since", _SETUP)
        return
    yield ok(subject, "everything is installed")


def _out_of_date(checkout: Path) -> bool:
    """Ask make whether a file is newer than what was built from it; False if make is not installed."""
    if shutil.which("make") is None:
        return False
    # A make that started this command would pass its own flags on.
    environment = {
        key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    asked = subprocess.run(
        ["make", "--question", "--silent", "setup"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    return asked.returncode == 1


def _pinned(requirements: Path, package: str) -> str:
    try:
        found = re.search(
            rf"^{re.escape(package)}==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:
        return ""
    return found[1] if found else ""
