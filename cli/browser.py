"""Shows a page in the user's browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from cli.user_folders import cache_folder


def cached_page(name: str) -> Path:
    """Where a page lies that nobody asked to keep: one file, written over the next time."""
    return cache_folder() / name


def write_private(page: Path, content: str) -> None:
    """Write a page that only its owner may read: it holds names and passages of their stories."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.unlink(missing_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        file.write(content)


def show(page: Path) -> bool:
    """Open a file in the browser; False where there is none to open it in.

    Without a screen Python would take a browser of the terminal, which covers what the terminal says.
    """
    on_screen = sys.platform in {"darwin", "win32"} or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    return on_screen and webbrowser.open(page.resolve().as_uri())
