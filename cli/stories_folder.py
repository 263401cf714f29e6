"""The user's folder: which files go, and under which names."""

from __future__ import annotations

import os
from pathlib import Path

from cli.errors import CommandError
from stories import file_rules


def story_files(folder: Path) -> list[tuple[Path, str]]:
    """Every file below `folder` (or the one file), with the key it gets.

    Hidden files and folders stay behind. A link to a file is that file; a link to a folder is not followed,
    since it may lead in a circle.

    Raises:
        CommandError: nothing there, nothing in it, or a name that cannot be a key.
    """
    if folder.is_file():
        return [(folder, _key(folder.name))]
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}.", "Give the folder that holds your stories.")
    name = folder.name if folder.name not in {"", ".."} else folder.resolve().name
    found = [
        (path, _key(f"{name}/{path.relative_to(folder).as_posix()}"))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise CommandError(f"The folder {folder} holds no file.", "Put stories into it, or name another.")
    return found


def _key(path: str) -> str:
    """Return the key of a file. Of a name in an older encoding the letters that cannot be told are replaced.

    Raises:
        CommandError: the name cannot be a key.
    """
    key = file_rules.normalize_name(os.fsencode(path).decode(errors="replace"))
    fault = file_rules.name_problem(key)
    if fault is not None:
        raise CommandError(
            f"{file_rules.printable(key)} cannot be uploaded: {fault}.",
            "Rename the file, or move it elsewhere.",
        )
    return key
