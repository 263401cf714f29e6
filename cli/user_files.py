"""The folders that the command line uses: this checkout, the user's settings and caches, and pages to show.

The user's folders are those of the XDG base directory specification. A variable that is empty or relative
counts as unset (https://specifications.freedesktop.org/basedir-spec/latest/), because otherwise the settings
would come from the current folder.
"""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
LOCAL_STATE = Path(".local-cloud")
"""The folder of a checkout that holds everything of its local cloud."""


def config_folder() -> Path:
    """Return the folder of this app's settings."""
    return _base_folder("XDG_CONFIG_HOME", ".config") / "storyloom"


def cached_page(name: str) -> Path:
    """Return the file of a page that is shown once: the next one is written over it."""
    return _base_folder("XDG_CACHE_HOME", ".cache") / "storyloom" / name


def _base_folder(variable: str, default: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / default


def write_private(page: Path, content: str) -> None:
    """Write a page that only its owner may read, because it holds names and passages of their stories."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.unlink(missing_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(content)


def open_in_browser(page: Path) -> bool:
    """Open a file in the browser; return False if this machine has no browser with a window.

    Without a screen Python would start a browser inside the terminal, over what the command has printed.
    """
    on_screen = sys.platform in {"darwin", "win32"} or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    return on_screen and webbrowser.open(page.resolve().as_uri())
