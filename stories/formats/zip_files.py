"""Unpack zips, and documents that are zips of XML (.docx, .epub, .odt), with limits against zip bombs."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from lxml import etree

from stories.file_rules import LARGEST_TEXT_BYTES
from stories.records import UnreadableError

_SAVE_AGAIN = "Open it in the program that made it and save it again, or save it as plain text (.txt)."
# Limit for text; pictures are never unpacked.
_LARGEST_TOTAL_BYTES = 64 * 1024**2

MAX_ENTRIES = 10_000
_HIGHEST_RATIO = 100
_RATIO_MATTERS_FROM_BYTES = 1024**2
_ENCRYPTED = 0x1
PACK_AGAIN = "Pack the stories into a new zip with your computer's own tool and drop it again."


class ZipDocument:
    """The files inside a document, each checked before it is unpacked."""

    def __init__(self, archive: zipfile.ZipFile, kind: str) -> None:
        """Wrap an open zip.

        Args:
            archive: the zip.
            kind: name of the format for messages, such as "Word document".
        """
        self._archive = archive
        self._kind = kind
        self._left = _LARGEST_TOTAL_BYTES
        self._entries = {entry.filename: entry for entry in archive.infolist()}

    def names(self) -> list[str]:
        """Return the paths inside."""
        return list(self._entries)

    def read(self, path: str) -> bytes:
        """Unpack one file.

        Raises:
            UnreadableError: it is missing, too large, damaged or protected by a password.
        """
        entry = self._entries.get(path)
        if entry is None:
            raise UnreadableError(f"It is not a valid {self._kind}: it has no {path} inside.", _SAVE_AGAIN)
        check_packing(entry)
        self._left -= entry.file_size
        if self._left < 0:
            limit = _LARGEST_TOTAL_BYTES // 1024**2
            raise UnreadableError(
                f"It unpacks to more than {limit} MB.", "Split it, for instance by chapter."
            )
        return unpack(self._archive, entry)

    def read_xml(self, path: str) -> etree._Element:
        """Parse one file as XML.

        Raises:
            UnreadableError: as `read`; or it is not XML, or defines entities, as XML bombs do.
        """
        return parse_xml(self.read(path), self._kind)


@contextmanager
def open_zip_document(stream: IO[bytes], kind: str) -> Iterator[ZipDocument]:
    """Open a document that is a zip.

    Args:
        stream: its bytes, seekable.
        kind: name of the format for messages, such as "Word document".

    Raises:
        UnreadableError: it is not a zip, or a damaged one.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            if len(archive.infolist()) > MAX_ENTRIES:
                raise UnreadableError(f"It holds more than {MAX_ENTRIES} files inside.", _SAVE_AGAIN)
            yield ZipDocument(archive, kind)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise UnreadableError(f"It is not a valid {kind}, or it is damaged.", _SAVE_AGAIN) from error


def parse_xml(data: bytes, kind: str) -> etree._Element:
    """Parse XML from an untrusted file.

    Raises:
        UnreadableError: it is not XML, or defines entities, as XML bombs do.
    """
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, LookupError, ValueError) as error:
        raise UnreadableError(f"It is a damaged {kind} ({error}).", _SAVE_AGAIN) from error
    definitions = root.getroottree().docinfo.internalDTD
    if definitions is not None and next(definitions.iterentities(), None) is not None:
        raise UnreadableError(
            "It defines abbreviations (XML entities) that could blow up to any size.", _SAVE_AGAIN
        )
    return root


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
    if is_bomb(entry.file_size, entry.compress_size):
        raise UnreadableError("It unpacks to far more than any text would (a zip bomb).", PACK_AGAIN)


def is_bomb(unpacked: int, packed: int) -> bool:
    """Return whether sizes in bytes show a zip bomb: far more unpacked than any text would give."""
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
        raise UnreadableError("It is damaged inside the zip.", PACK_AGAIN) from error
