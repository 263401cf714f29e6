"""Read zip archives safely: nothing is unpacked to disk, and zip bombs are refused before unpacking."""

import io
import logging
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO

from stories.file_rules import printable
from stories.formats.detection import find_reader
from stories.formats.zip_files import MAX_ENTRIES, PACK_AGAIN, check_packing, is_bomb, unpack
from stories.records import RawStory, UnreadableError, UnusablePart, unexpected_error

SUFFIXES = (".zip",)

_log = logging.getLogger(__name__)
_LARGEST_TOTAL_BYTES = 256 * 1024**2
_LONGEST_NAME_CHARACTERS = 1000
"""A little less than S3's limit for a key."""
_NESTED = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"}
_UNPACK = "Unpack it and drop its stories, or its zip alone."


def read(stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
    """Yield the stories of every file in the archive, with their paths inside it."""
    del name
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = _checked_entries(archive)
            for entry in entries:
                yield from _read_entry(archive, entry)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise UnreadableError("The zip is damaged or of an unknown kind.", PACK_AGAIN) from error


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
    if is_bomb(unpacked, packed):
        raise UnreadableError("The zip unpacks to far more than any text would (a zip bomb).", PACK_AGAIN)
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
        explained = unexpected_error(error)
        yield UnusablePart(explained.reason, explained.cure, name)


def _check(entry: zipfile.ZipInfo) -> None:
    if len(entry.filename) > _LONGEST_NAME_CHARACTERS:
        raise UnreadableError(
            f"Its name is longer than {_LONGEST_NAME_CHARACTERS:,} characters.", "Give it a shorter name."
        )
    path, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
    if path.is_absolute() or windows.drive or windows.root or ".." in (*path.parts, *windows.parts):
        raise UnreadableError("Its path leads out of the archive.", PACK_AGAIN)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UnreadableError("It is a link to another file.", "Put the file itself into the zip.")
    if path.suffix.lower() in _NESTED:
        raise UnreadableError("It is an archive inside an archive.", _UNPACK)
    check_packing(entry)
