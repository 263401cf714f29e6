"""Manage the secret access key of the local account's root user, one per cloud, made when the cloud starts.

It gives full access to the cloud, so only the owner of the state folder may read it.
"""

import secrets
from pathlib import Path

from local import private_file

_BYTES = 30
"""Encoded in 40 characters, the length of an AWS secret access key."""


def ensure(path: Path) -> str:
    """Return the secret in `path`, creating it on first use."""
    try:
        return private_file.read(path)
    except FileNotFoundError:
        private_file.write(path, secrets.token_urlsafe(_BYTES))
        return private_file.read(path)
