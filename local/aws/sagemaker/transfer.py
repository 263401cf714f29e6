"""Copies between S3 and a job's folder, with the job's own permissions.

Only GetObject, PutObject and ListBucket are used: with `download_file` boto3 would ask HeadObject
first, whose refusal carries no text, and the reason must name the action that was denied.
"""

import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class S3Uri:
    """``s3://bucket/key``."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> "S3Uri":
        """Parse ``s3://bucket[/key]``. Raises ValueError for anything else."""
        parts = urlsplit(text)
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError(f"{text!r} is not an S3 URI (s3://bucket/prefix)")
        return cls(parts.netloc, parts.path.lstrip("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def child(self, name: str) -> "S3Uri":
        """Return the object `name` under this prefix."""
        return S3Uri(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))


def download_prefix(s3: "S3Client", uri: S3Uri, folder: Path) -> int:
    """Download every object whose key starts with the prefix to `folder`; return how many there were.

    As on SageMaker the prefix need not end with a slash, and a prefix may name one object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = uri.key[: uri.key.rfind("/") + 1]
    count = 0
    for key in _keys(s3, uri):
        # "models/a" means the folder models/a when there is one, and not its neighbour models/ab.
        relative = key[len(uri.key) :].lstrip("/") if key.startswith(f"{uri.key.rstrip('/')}/") else ""
        target = _inside(folder, relative or key[len(base) :])
        target.parent.mkdir(parents=True, exist_ok=True)
        body = s3.get_object(Bucket=uri.bucket, Key=key)["Body"]
        with target.open("wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                file.write(chunk)
        count += 1
    return count


def _keys(s3: "S3Client", uri: S3Uri) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=uri.bucket, Prefix=uri.key):
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield item["Key"]


def _inside(folder: Path, relative: str) -> Path:
    target = (folder / relative).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise ValueError(f"The key {relative!r} would be written outside its folder")
    return target


def upload_folder(s3: "S3Client", folder: Path, uri: S3Uri) -> int:
    """Upload every file below `folder` to the prefix; return how many there were."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        _upload(s3, path, uri.child(path.relative_to(folder).as_posix()))
    return len(files)


def _upload(s3: "S3Client", path: Path, uri: S3Uri) -> None:
    with path.open("rb") as body:
        s3.put_object(Bucket=uri.bucket, Key=uri.key, Body=body)


def upload_archive(s3: "S3Client", folder: Path, uri: S3Uri, scratch: Path) -> None:
    """Upload the contents of `folder` as one .tar.gz object."""
    archive = scratch / uri.key.rsplit("/", 1)[-1]
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    _upload(s3, archive, uri)
    archive.unlink()


def unpack_archives(folder: Path) -> None:
    """Unpack every .tar.gz directly in `folder` into `folder`."""
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                _unpack(tar, member, folder)
        archive.unlink()


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a file or folder that stays within `folder`.

    tarfile's own filter for this came with Python 3.11.4; Debian 12 has 3.11.2.
    """
    place = (folder / member.name).resolve()
    if not place.is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
        raise tarfile.ExtractError(
            f"{member.name!r} is a link, or leads out of the archive: pack it without."
        )
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
    elif (content := tar.extractfile(member)) is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with content, place.open("wb") as target:
            shutil.copyfileobj(content, target, CHUNK_BYTES)


@dataclass
class FolderSync:
    """Keeps a prefix up to date with a folder to which a job writes (checkpoints)."""

    s3: "S3Client"
    folder: Path
    uri: S3Uri
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _sent: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def fetch(self) -> int:
        """Download the files of an earlier job; they are not uploaded again unless they change."""
        count = download_prefix(self.s3, self.uri, self.folder)
        self._sent = self._state()
        return count

    def push(self, *, everything: bool = False) -> None:
        """Upload new files. A file that changed since the last call waits, unless `everything`.

        Nothing is deleted from S3: SageMaker does not either, so old checkpoints stay there.
        """
        state = self._state()
        for path, stamp in state.items():
            settled = everything or self._seen.get(path) == stamp
            if settled and self._sent.get(path) != stamp:
                _upload(self.s3, path, self.uri.child(path.relative_to(self.folder).as_posix()))
                self._sent[path] = stamp
        self._seen = state

    def _state(self) -> dict[Path, tuple[int, int]]:
        state = {}
        for path in self.folder.rglob("*"):
            try:
                if path.is_file():
                    stat = path.stat()
                    state[path] = (stat.st_size, stat.st_mtime_ns)
            except FileNotFoundError:
                continue  # removed while we looked
        return state


def remove_folder(folder: Path) -> None:
    """Remove an instance's disk."""
    shutil.rmtree(folder, ignore_errors=True)
