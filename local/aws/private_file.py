"""Read and write files that only their owner may read, because they hold secrets or trusted data."""

import os
import secrets
import stat
from pathlib import Path

from local.aws.errors import LocalCloudError

_SECRET_BYTES = 30
"""Encoded in 40 characters, the length of an AWS secret access key."""


def write_private_file(path: Path, content: str) -> None:
    """Replace a file atomically; it is never readable for other users."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    staging.replace(path)


def read_private_file(path: Path) -> str:
    """Return the content of a file that only this user may read and write.

    Raises:
        FileNotFoundError: the file does not exist.
        LocalCloudError: it is a link, belongs to another user, or other users may read or write it.
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
    return f"{path} was not used: {why}. Delete it if you did not make it."


def ensure_root_secret(path: Path) -> str:
    """Return the secret access key of the root user in `path`, creating it on first use.

    It gives full access to the cloud, so only the owner of the state folder may read it.
    """
    try:
        return read_private_file(path)
    except FileNotFoundError:
        write_private_file(path, secrets.token_urlsafe(_SECRET_BYTES))
        return read_private_file(path)
