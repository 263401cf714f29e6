"""Locate the user's folders for settings and caches, as the XDG base directory specification defines them.

A variable that is empty or relative counts as unset (https://specifications.freedesktop.org/basedir-spec/latest/):
otherwise settings would be read from the current folder.
"""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """Return the folder of the app's settings."""
    return _base("XDG_CONFIG_HOME", ".config") / "storyloom"


def cache_folder() -> Path:
    """Return the folder of data that the app can make again."""
    return _base("XDG_CACHE_HOME", ".cache") / "storyloom"


def _base(variable: str, default: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / default
