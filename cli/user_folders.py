"""The user's own folders for settings and caches, as the XDG base directory specification names them.

A variable that is empty or relative counts as unset (https://specifications.freedesktop.org/basedir-spec/latest/):
otherwise the folder that the user stands in would bring the settings.
"""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """Return where this app keeps settings."""
    return _base("XDG_CONFIG_HOME", ".config") / "storyloom"


def cache_folder() -> Path:
    """Return where this app keeps what can be made again."""
    return _base("XDG_CACHE_HOME", ".cache") / "storyloom"


def _base(variable: str, default: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / default
