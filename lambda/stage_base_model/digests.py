"""Hashes of a file by which the hub names its content: sha256 of a large file, git's own of a small one."""

import hashlib
from dataclasses import dataclass

from stage_base_model.hub import HubFile


@dataclass(frozen=True)
class Content:
    """What was hashed."""

    size: int
    """Bytes."""
    sha256: str
    git_sha1: str | None = None
    """None if only the sha256 was computed."""

    def is_of(self, file: HubFile) -> bool:
        """Whether this is the hub's file, byte for byte."""
        if self.size != file.size:
            return False
        if file.sha256 is not None:
            return self.sha256 == file.sha256
        return file.git_sha1 is None or self.git_sha1 == file.git_sha1


class ContentHash:
    """Hashes a file of a known size, a chunk at a time."""

    def __init__(self, size: int) -> None:
        """Begin; git's hash is made of the size, too."""
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Hash some more."""
        self._sha256.update(chunk)
        self._git.update(chunk)
        self._size += len(chunk)

    @property
    def content(self) -> Content:
        """What has been hashed."""
        return Content(self._size, self._sha256.hexdigest(), self._git.hexdigest())
