"""The secret key of the local account's root user: one for each cloud, made when it starts.

Whoever has it is the cloud's administrator, so only the owner of the state folder may read it.
"""

import secrets
from pathlib import Path

from local import private_file

_BYTES = 30
"""Written in 40 characters, as many as an AWS secret key has."""


def ensure(path: Path) -> str:
    """Return the secret in `path`, made on first use."""
    try:
        return private_file.read(path)
    except FileNotFoundError:
        private_file.write(path, secrets.token_urlsafe(_BYTES))
        return private_file.read(path)
