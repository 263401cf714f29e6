"""Where an adapter comes from: hashes of the examples, the base model and the code that made it."""

import hashlib
import json
from pathlib import Path

_MARKER = "staged.json"
"""Written when the base model was copied into the bucket; has the sha256 of each of its files."""


def folder_hash(folder: Path, pattern: str) -> str:
    """sha256 over the names and contents of the folder's files that match."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(file_hash(path).encode() + b"\0")
    return digest.hexdigest()


def base_hash(folder: Path) -> str:
    """sha256 of a base model, from the hashes noted when it was staged, else from its files."""
    marker = folder / _MARKER
    if not marker.exists():
        return folder_hash(folder, "*")
    files = json.loads(marker.read_text(encoding="utf-8"))["files"]
    named = "".join(f"{name}\0{files[name]['sha256']}\0" for name in sorted(files))
    return hashlib.sha256(named.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
