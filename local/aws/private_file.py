"""Files that only their owner may read, because what is in them is secret or trusted."""

import os
import secrets
import stat
from pathlib import Path

from local.aws.errors import LocalCloudError


def write_private(path: Path, content: str) -> None:
    """Replace a file in one step; nobody else can read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    staging.replace(path)


def read_private(path: Path) -> str:
    """Return what is in a file that is the user's own.

    Raises:
        FileNotFoundError: there is none.
        LocalCloudError: it is a link, belongs to another user, or may be read or written by others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LocalCloudError(_refusal(path, f"it cannot be opened as a file ({error.strerror})")) from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise LocalCloudError(_refusal(path, "it is not a file"))
        if found.st_uid != os.geteuid():
            raise LocalCloudError(_refusal(path, "it belongs to another user"))
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise LocalCloudError(_refusal(path, "other users may read or write it"))
        return file.read()


def _refusal(path: Path, why: str) -> str:
    return f"{path} is not used: {why}. Delete it, if you did not make it."


_SECRET_BYTES = 30
"""Written in 40 characters, as many as an AWS secret key has."""


def ensure_root_secret(path: Path) -> str:
    """Return the secret key of the root user in `path`, made on first use.

    Whoever has it is the cloud's administrator, so only the owner of the state folder may read it.
    """
    try:
        return read_private(path)
    except FileNotFoundError:
        write_private(path, secrets.token_urlsafe(_SECRET_BYTES))
        return read_private(path)
