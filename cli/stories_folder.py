"""The user's folder: which files go, and under which names."""

from __future__ import annotations

from pathlib import Path

from cli.errors import CommandError


def story_files(folder: Path) -> list[tuple[Path, str]]:
    """Every file below `folder` (or the one file), with the key it gets; hidden files stay behind.

    Raises:
        CommandError: nothing there, or nothing in it.
    """
    if folder.is_file():
        return [(folder, folder.name)]
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}.", "Give the folder that holds your stories.")
    found = [
        (path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise CommandError(f"The folder {folder} holds no file.", "Put stories into it, or name another.")
    return found
