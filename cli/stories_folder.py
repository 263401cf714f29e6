"""The user's folder of stories: which files are uploaded, and under which keys."""

from __future__ import annotations

import os
from pathlib import Path

from cli.console import CommandError
from stories import file_rules


def story_files(folder: Path) -> list[tuple[Path, str]]:
    """List every file below `folder` (or the one file) with its key.

    Hidden files and folders are left out. A link to a file is that file; a link to a folder is not followed,
    since it may lead in a circle.

    Raises:
        CommandError: the folder does not exist or has no file, or a name cannot be a key.
    """
    if folder.is_file():
        return [(folder, _key(folder.name))]
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}.", "Give the folder of your stories.")
    name = folder.name if folder.name not in {"", ".."} else folder.resolve().name
    found = [
        (path, _key(f"{name}/{path.relative_to(folder).as_posix()}"))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise CommandError(f"The folder {folder} is empty.", "Put stories into it, or give another folder.")
    return found


def _key(path: str) -> str:
    """Return the key of a file; in a name that is not UTF-8, the bytes that cannot be decoded are replaced.

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
