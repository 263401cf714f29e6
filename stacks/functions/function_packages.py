"""Fetch the functions' packages for Lambda's Linux, so that synth needs no network.

`python -m stacks.functions.function_packages` fills `.build/functions/<key>/` for each group; the key
is a hash of the group's lock file and of the Python version, so a folder never goes stale. No Docker: pip
picks the wheels that Amazon Linux 2023 runs, and refuses one whose SHA-256 is not in the lock file.
"""

import argparse
import compileall
import hashlib
import json
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stacks.functions.function_groups import CHECKOUT, GROUPS, FunctionGroup

# What Amazon Linux 2023 (glibc 2.34) runs, newest first: pip takes the best wheel that fits one of them.
_PLATFORMS = (
    "manylinux_2_34_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
_LAMBDA_LIMIT_MB = 250
_THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_NEVER_RUN = ("bin", "__pycache__")


class PackagesMissingError(Exception):
    """The functions' packages have not been fetched."""


def packages_folder(group: FunctionGroup, python: str) -> Path:
    """Return the folder of a group's packages for a Python such as `3.14`; it may not exist yet."""
    lock = group.lock.read_bytes()
    form = b" compiled" if python == _THIS_PYTHON else b""
    key = hashlib.sha256(lock + b"\npython " + python.encode() + form).hexdigest()[:16]
    return CHECKOUT / ".build" / "functions" / key


def fetched_packages(group: FunctionGroup, python: str) -> Path:
    """Return the folder of a group's packages.

    Raises:
        PackagesMissingError: the message has the command that fetches them.
    """
    folder = packages_folder(group, python)
    if not folder.is_dir():
        raise PackagesMissingError(
            f"The packages of the {group.name} functions for Python {python} have not been fetched. "
            "Fetch them with: make setup   "
            f"(or: python -m stacks.functions.function_packages --python {python})"
        )
    return folder


def fetch(group: FunctionGroup, python: str) -> Path:
    """Fetch a group's packages unless that has been done, and return their folder.

    Raises:
        subprocess.CalledProcessError: pip's own message names the package without a wheel.
        ValueError: they are larger than Lambda allows.
    """
    folder = packages_folder(group, python)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Filled under a temporary name and then renamed, so that an interrupted fetch leaves no partial folder.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        target = Path(scratch) / "packages"
        subprocess.run(_pip_install(group, python, target), check=True)
        for name in _NEVER_RUN:
            for unneeded in list(target.rglob(name)):
                shutil.rmtree(unneeded)
        if python == _THIS_PYTHON:
            _compile(target)
        _check_size(group, target)
        if not folder.is_dir():  # another set-up may have been faster
            target.rename(folder)
    return folder


def _pip_install(group: FunctionGroup, python: str, target: Path) -> list[str]:
    platforms = [argument for platform in _PLATFORMS for argument in ("--platform", platform)]
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", python),
        *platforms,
        *("--require-hashes", "--no-deps", "--target", str(target), "--requirement", str(group.lock)),
    ]


def _compile(target: Path) -> None:
    """Compile the sources, because each cold start would compile them in Lambda's read-only folder.

    Only if this Python is the functions' own. Unchecked: a zip keeps no times to compare.
    """
    compileall.compile_dir(
        target,
        quiet=2,  # a package may contain a file for a newer Python that it never imports
        stripdir=target,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _check_size(group: FunctionGroup, target: Path) -> None:
    size_mb = sum(file.stat().st_size for file in target.rglob("*") if file.is_file()) / 1e6
    if size_mb > _LAMBDA_LIMIT_MB:
        raise ValueError(
            f"The packages of {group.lock.name} have {size_mb:.0f} MB; Lambda takes "
            f"{_LAMBDA_LIMIT_MB} MB with the functions' own code. Remove a package."
        )


def _default_pythons() -> list[str]:
    """Return the Python on AWS (the default of cdk.json), and this one, for the local cloud."""
    context = json.loads((CHECKOUT / "cdk.json").read_text())["context"]
    return sorted({str(context["function_python"]), _THIS_PYTHON})


def main() -> None:
    """Fetch every group's packages."""
    parser = argparse.ArgumentParser(
        description="Fetch the Lambda functions' packages into .build/functions."
    )
    parser.add_argument(
        "--python", action="append", help="Python version, such as 3.14; may be given repeatedly"
    )
    for python in parser.parse_args().python or _default_pythons():
        for group in GROUPS:
            folder = fetch(group, python)
            print(f"{group.name} functions, Python {python}: {folder.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    main()
