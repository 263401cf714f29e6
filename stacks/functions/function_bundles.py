"""Build the functions' code: one Lambda zip for each group.

The asset's hash is computed from the sources, the pinned packages and the Python version, and not from the
bundle's bytes, so that two checkouts with the same sources have the same template. The zip is built once and
cached, because the CDK would copy and pack the same hundreds of megabytes for each deployment.
"""

import hashlib
import shutil
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path

from aws_cdk import AssetHashType
from aws_cdk import aws_lambda as lambda_

from stacks.functions.function_groups import CHECKOUT, GROUPS, FunctionGroup
from stacks.functions.function_packages import fetched_packages

_NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
# Part of every hash: raise it when bundles are built in another way.
_LAYOUT = "2"

# The fastest: a few percent more to upload, and a third of the time to pack.
_COMPRESSION = 1


class FunctionMissingError(Exception):
    """A function that the stacks deploy has no folder."""


class FunctionBundles:
    """The code of all functions, for one Python version."""

    def __init__(self, python: str) -> None:
        """Check that every function exists and its packages have been fetched.

        Raises:
            FunctionMissingError: names what is missing.
            PackagesMissingError: names the command that fetches them.
        """
        self.python = python
        missing = [
            str(path.relative_to(CHECKOUT))
            for group in GROUPS
            for path in _entries(group)
            if not path.exists()
        ]
        if missing:
            raise FunctionMissingError(
                f"The functions' code is not complete: {', '.join(missing)} is missing."
            )
        self._packages = {group.name: fetched_packages(group, python) for group in GROUPS}

    def code(self, group: FunctionGroup) -> lambda_.Code:
        """Return a group's code, ready to deploy; a new object each time, as each stack needs its own."""
        bundle, digest = self._bundles[group.name]
        return lambda_.Code.from_asset(str(bundle), asset_hash=digest, asset_hash_type=AssetHashType.CUSTOM)

    @cached_property
    def _bundles(self) -> dict[str, tuple[Path, str]]:
        """The zip and the digest of each group, computed once."""
        bundles = {}
        for group in GROUPS:
            digest = _digest(group, self._packages[group.name])
            bundles[group.name] = (_bundle(group, digest, self._packages[group.name]), digest)
        return bundles


def content_digest(folder: Path) -> str:
    """Return a hash of a folder's files, by relative path and content (sha256, 64 hex)."""
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    def hidden(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return path.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in parts)

    return sorted(path for path in folder.rglob("*") if path.is_file() and not hidden(path))


def _entries(group: FunctionGroup) -> list[Path]:
    """Return everything of the checkout that goes into a group's zip."""
    in_lambda = [CHECKOUT / "lambda" / name for name in (*group.functions, "shared", *group.at_the_root)]
    return [*in_lambda, *(CHECKOUT / name for name in ("contracts", *group.libraries))]


def _digest(group: FunctionGroup, packages: Path) -> str:
    digest = hashlib.sha256(f"{_LAYOUT}\n{packages.name}\n".encode())  # packages are named by their own hash
    for entry in _entries(group):
        content = content_digest(entry) if entry.is_dir() else hashlib.sha256(entry.read_bytes()).hexdigest()
        digest.update(f"{entry.relative_to(CHECKOUT)} {content}\n".encode())
    return digest.hexdigest()


def _bundle(group: FunctionGroup, digest: str, packages: Path) -> Path:
    """Return a group's zip, which is built if it does not exist yet."""
    made = CHECKOUT / ".build" / "bundles" / f"{group.name}-{digest[:16]}.zip"
    if made.exists():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=".bundling-") as scratch:
        bundle = lay_out(group, packages, Path(scratch) / "bundle")
        pack(bundle, Path(scratch) / made.name).replace(made)  # another synth may have been faster
    return made


def pack(folder: Path, target: Path) -> Path:
    """Zip a folder's files with their permissions, always to the same bytes; returns the zip."""
    with zipfile.ZipFile(target, "w") as packed:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())  # with a date of its own: 1980
            entry.external_attr = (file.stat().st_mode & 0xFFFF) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes(), compresslevel=_COMPRESSION)
    return target


def lay_out(group: FunctionGroup, packages: Path, target: Path) -> Path:
    """Collect a group's packages, functions, shared code and start scripts in a new folder; returns it."""
    shutil.copytree(packages, target, copy_function=_link_or_copy)
    for entry in _entries(group):
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, ignore=_NOT_CODE)
        else:
            shutil.copy2(entry, target / entry.name)
    return target


def _link_or_copy(source: str, target: str) -> None:
    """Link a file: packages have tens of megabytes that nobody changes. Copy it across file systems."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
