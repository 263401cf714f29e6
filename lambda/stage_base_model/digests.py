"""Compute the hashes by which the hub identifies files: SHA-256 of large ones, git's SHA-1 of small ones."""

import hashlib
from dataclasses import dataclass

from stage_base_model.hub import HubFile


@dataclass(frozen=True)
class Content:
    """The size and hashes of a file's content."""

    size: int
    """Size in bytes."""
    sha256: str
    git_sha1: str | None = None
    """None if only the sha256 was computed."""

    def is_of(self, file: HubFile) -> bool:
        """Return whether this is the content of the hub's file."""
        if self.size != file.size:
            return False
        if file.sha256 is not None:
            return self.sha256 == file.sha256
        return file.git_sha1 is None or self.git_sha1 == file.git_sha1


class ContentHash:
    """An incremental hash of a file of known size."""

    def __init__(self, size: int) -> None:
        """Start hashing; git's hash includes the size."""
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Hash another chunk."""
        self._sha256.update(chunk)
        self._git.update(chunk)
        self._size += len(chunk)

    @property
    def content(self) -> Content:
        """The size and hashes of the chunks so far."""
        return Content(self._size, self._sha256.hexdigest(), self._git.hexdigest())
