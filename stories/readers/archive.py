"""Read zip archives safely: nothing is unpacked to disk, and zip bombs are refused before unpacking."""

import io
import logging
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from stories.errors import UnreadableError, unexpected_error
from stories.file_names import printable
from stories.readers import LARGEST_TEXT_BYTES, RawStory, UnusablePart, find_reader

SUFFIXES = (".zip",)

_log = logging.getLogger(__name__)

MAX_ENTRIES = 10_000
_LARGEST_TOTAL_BYTES = 256 * 1024**2
_HIGHEST_RATIO = 100
_LONGEST_NAME_CHARACTERS = 1000
"""A little less than S3's limit for a key."""
_RATIO_MATTERS_FROM_BYTES = 1024**2
_NESTED = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
_ENCRYPTED = 0x1
_UNPACK = "Unpack it and drop its stories, or its zip alone."
_PACK_AGAIN = "Pack the stories into a new zip with your computer's own tool and drop it again."


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the stories of every file in the archive, with their paths inside it."""
    del name
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = _checked_entries(archive)
            for entry in entries:
                yield from _read_entry(archive, entry)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise UnreadableError("The zip is damaged or of an unknown kind.", _PACK_AGAIN) from error


def _checked_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = sorted(
        (entry for entry in archive.infolist() if not entry.is_dir()), key=lambda entry: entry.filename
    )
    if not entries:
        raise UnreadableError("The zip holds no files.", "Put the stories into it and drop it again.")
    if len(entries) > MAX_ENTRIES:
        raise UnreadableError(f"The zip holds more than {MAX_ENTRIES} files.", "Split it into several zips.")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > _LARGEST_TOTAL_BYTES:
        limit = _LARGEST_TOTAL_BYTES // 1024**2
        raise UnreadableError(f"The zip unpacks to more than {limit} MB.", "Split it into several zips.")
    if _is_bomb(unpacked, packed):
        raise UnreadableError("The zip unpacks to far more than any text would (a zip bomb).", _PACK_AGAIN)
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[RawStory | UnusablePart]:
    name = printable(entry.filename)
    try:
        _check(entry)
        with io.BytesIO(unpack(archive, entry)) as content:
            reader = find_reader(entry.filename, content)
            if reader is read:
                raise UnreadableError("It is an archive inside an archive.", _UNPACK)
            for found in reader(content, entry.filename):
                inner = f"{name}, {found.entry}" if found.entry else name
                yield replace(found, entry=inner)
    except UnreadableError as error:
        yield UnusablePart(error.reason, error.cure, name)
    except Exception as error:
        _log.exception("A reader failed on a file in a zip")
        told = unexpected_error(error)
        yield UnusablePart(told.reason, told.cure, name)


def _check(entry: zipfile.ZipInfo) -> None:
    if len(entry.filename) > _LONGEST_NAME_CHARACTERS:
        raise UnreadableError(
            f"Its name is longer than {_LONGEST_NAME_CHARACTERS:,} characters.", "Give it a shorter name."
        )
    path, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise UnreadableError("Its path leads out of the archive.", _PACK_AGAIN)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnreadableError("It is a link to another file.", "Put the file itself into the zip.")
    if path.suffix.lower() in _NESTED:
        raise UnreadableError("It is an archive inside an archive.", _UNPACK)
    check_packing(entry)


def check_packing(entry: zipfile.ZipInfo) -> None:
    """Check that a file inside a zip can be unpacked and is not too large.

    Raises:
        UnreadableError: it is protected by a password, too large or a zip bomb.
    """
    if entry.flag_bits & _ENCRYPTED:
        raise UnreadableError("It is protected by a password.", "Save it again without a password.")
    if entry.file_size > LARGEST_TEXT_BYTES:
        limit = LARGEST_TEXT_BYTES // 1024**2
        raise UnreadableError(
            f"It is larger than {limit} MB.", "Split it into several files, for instance by chapter."
        )
    if _is_bomb(entry.file_size, entry.compress_size):
        raise UnreadableError("It unpacks to far more than any text would (a zip bomb).", _PACK_AGAIN)


def _is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > _RATIO_MATTERS_FROM_BYTES and unpacked > packed * _HIGHEST_RATIO


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Unpack a file that `check_packing` has accepted.

    Raises:
        UnreadableError: it is damaged.
    """
    # zipfile stops at the declared size, which has been checked.
    try:
        return archive.read(entry)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise UnreadableError("It is damaged inside the zip.", _PACK_AGAIN) from error
