"""Choose the reader of a file, by its first bytes if they identify a format, otherwise by its name.

Each module in `stories/formats/readers/` with `SUFFIXES` and `read` is a reader; there is no list to edit.
`read(stream, name)` takes a seekable binary stream and yields a `RawStory` for each story and an
`UnusablePart` for each part that cannot be used. It raises `UnreadableError` if nothing more can be read.
"""

import importlib
import pkgutil
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import IO, Protocol

from stories.file_rules import LARGEST_TEXT_BYTES
from stories.formats.encoding import is_text
from stories.records import RawStory, UnreadableError, UnusablePart

_READERS = "stories.formats.readers"

_ZIPPED = {".docx", ".docm", ".dotx", ".dotm", ".epub", ".odt", ".ott"}
_SIGNED = {*_ZIPPED, ".pdf", ".rtf", ".zip", ".doc", ".dot"}
"""Suffixes of formats that are recognised by their first bytes."""
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{0,9}")

HEAD_BYTES = 4096

_AS_TEXT = "Open it in the program that made it and save it as plain text (.txt, UTF-8)."
_AS_WORD = "Open it in the program that made it and save it as a Word document (.docx)."
_AS_CSV = "Save the sheet that holds the stories as .csv, with columns named title and text."
_AS_EPUB = "Convert it to EPUB, for instance with the free program Calibre, and drop that."
_AS_ZIP = "Unpack it, and drop the stories themselves or a .zip of them."
_LEAVE_OUT = "Leave it out: only text can be learnt from."
_WITHOUT_PASSWORD = "Save it without a password and drop it again."  # noqa: S105 - advice, no password

# A zip's directory is held in memory: 46 bytes and a path for each file. No zip of stories needs more.
_LARGEST_DIRECTORY_BYTES = 8 * 1024**2

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLD_OFFICE_DIRECTORY_BYTES = 4 * 1024**2


class Read(Protocol):
    """The signature of a reader module's `read`."""

    def __call__(self, stream: IO[bytes], name: str) -> Iterator[RawStory | UnusablePart]:
        """Yield the stories and the unusable parts of a file."""


@cache
def readers() -> dict[str, Read]:
    """Return the readers by file suffix, in lower case with the dot."""
    found: dict[str, Read] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(_READERS).__path__):
        module = importlib.import_module(f"{_READERS}.{module_info.name}")
        if hasattr(module, "SUFFIXES"):
            found |= dict.fromkeys(module.SUFFIXES, module.read)
    return found


def find_reader(name: str, stream: IO[bytes]) -> Read:
    """Return the reader of a file, by its first bytes if they identify a format, otherwise by its name.

    Args:
        name: path of the file.
        stream: its bytes, seekable; left at the beginning.

    Raises:
        UnreadableError: the file is not a story, or there is no reader for its format.
    """
    file = PurePosixPath(name)
    if (
        file.name.startswith((".", "~$"))
        or "__MACOSX" in file.parts
        or file.name in {"Thumbs.db", "desktop.ini"}
    ):
        raise UnreadableError(
            "It is a file of the operating system, not a story.", "Nothing needs to be done."
        )
    suffix = _suffix(file)
    held = sniff(stream)
    if held == ".zip" and suffix in _ZIPPED and suffix in readers():
        # Damaged, or another format: the reader for its suffix gives the best error.
        return readers()[suffix]
    if held is not None and held in readers():
        return readers()[held]
    if suffix in _SIGNED or not suffix:
        return _reader_of_text(suffix, stream)
    if suffix not in readers():
        known = ", ".join(sorted(readers()))
        raise UnreadableError(
            f"Files that end in {suffix} cannot be read.", f"Save it in one of these formats: {known}."
        )
    return readers()[suffix]


def _suffix(file: PurePosixPath) -> str:
    """Return the suffix of a file's name in lower case; `Mr. Smith` has none."""
    suffix = file.suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _reader_of_text(suffix: str, stream: IO[bytes]) -> Read:
    """Return the reader of plain text if a file without a text suffix is text."""
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if is_text(head):
        return readers()[".txt"]
    if suffix:
        raise UnreadableError(
            f"Its name ends in {suffix}, but it does not hold that format; it may be damaged or cut short.",
            "Open it in the program that made it, save it again and drop that.",
        )
    raise UnreadableError(
        "It holds binary data, not text, and its name has no ending such as .txt.",
        "If it is a story, save it as plain text (.txt, UTF-8).",
    )


def read_whole(stream: IO[bytes]) -> bytes:
    """Read a text file to its end.

    Raises:
        UnreadableError: it is empty or too large.
    """
    data = stream.read(LARGEST_TEXT_BYTES + 1)
    if len(data) > LARGEST_TEXT_BYTES:
        limit = LARGEST_TEXT_BYTES // 1024**2
        raise UnreadableError(
            f"It is larger than {limit} MB.", "Split it into several files, for instance by chapter."
        )
    if not data.strip(b" \t\r\n\0"):
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
    return data


@dataclass(frozen=True)
class _UnsupportedFormat:
    """A format that cannot contain a readable story."""

    magic: bytes
    what: str
    cure: str
    offset: int = 0


_UNSUPPORTED_FORMATS = (
    _UnsupportedFormat(b"\x89PNG", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"\xff\xd8\xff", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"GIF8", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"BM", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"II*\0", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"MM\0*", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"WEBP", "a picture", _LEAVE_OUT, offset=8),
    _UnsupportedFormat(b"ftypheic", "a picture", _LEAVE_OUT, offset=4),
    _UnsupportedFormat(b"\0\0\1\0", "a picture", _LEAVE_OUT),
    _UnsupportedFormat(b"ftyp", "a film or a recording", _LEAVE_OUT, offset=4),
    _UnsupportedFormat(b"\x1a\x45\xdf\xa3", "a film or a recording", _LEAVE_OUT),
    _UnsupportedFormat(b"RIFF", "a film or a recording", _LEAVE_OUT),
    _UnsupportedFormat(b"ID3", "a film or a recording", _LEAVE_OUT),
    _UnsupportedFormat(b"OggS", "a film or a recording", _LEAVE_OUT),
    _UnsupportedFormat(b"fLaC", "a film or a recording", _LEAVE_OUT),
    _UnsupportedFormat(b"\x1f\x8b", "a gzip archive", _AS_ZIP),
    _UnsupportedFormat(b"BZh", "a bzip2 archive", _AS_ZIP),
    _UnsupportedFormat(b"\xfd7zXZ\0", "an xz archive", _AS_ZIP),
    _UnsupportedFormat(b"\x28\xb5\x2f\xfd", "a zstd archive", _AS_ZIP),
    _UnsupportedFormat(b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _AS_ZIP),
    _UnsupportedFormat(b"Rar!\x1a\x07", "a RAR archive", _AS_ZIP),
    _UnsupportedFormat(b"ustar", "a tar archive", _AS_ZIP, offset=257),
    _UnsupportedFormat(b"BOOKMOBI", "a Kindle book", _AS_EPUB, offset=60),
    _UnsupportedFormat(b"\xeaDRMION\xee", "a Kindle book", _AS_EPUB),
    _UnsupportedFormat(b"AT&TFORM", "a DjVu document", _AS_TEXT),
    _UnsupportedFormat(b"%!PS", "a PostScript document", _AS_TEXT),
    _UnsupportedFormat(b"\xffWPC", "a WordPerfect document", _AS_WORD),
    _UnsupportedFormat(b"\x7fELF", "a program", _LEAVE_OUT),
    _UnsupportedFormat(b"MZ", "a program", _LEAVE_OUT),
    _UnsupportedFormat(b"\xcf\xfa\xed\xfe", "a program", _LEAVE_OUT),
    _UnsupportedFormat(b"\xca\xfe\xba\xbe", "a program", _LEAVE_OUT),
    _UnsupportedFormat(b"\0asm", "a program", _LEAVE_OUT),
    _UnsupportedFormat(b"SQLite format 3\0", "a database", _AS_CSV),
    _UnsupportedFormat(b"PAR1", "a Parquet table", _AS_CSV),
    _UnsupportedFormat(b"bplist", "a settings file", _LEAVE_OUT),
    _UnsupportedFormat(b"wOFF", "a typeface", _LEAVE_OUT),
    _UnsupportedFormat(b"OTTO", "a typeface", _LEAVE_OUT),
)
_ASCII_MAGIC = (b"%!PS",)
"""ASCII signature that no text begins with; other ASCII signatures count only if the head has a zero byte."""

_OFFICE_KINDS = (
    ("EncryptedPackage", "a document that is protected by a password", _WITHOUT_PASSWORD),
    ("WordDocument", "a Word document of the kind before 2007 (.doc)", "Save it as .docx and drop that."),
    ("Workbook", "an Excel workbook", _AS_CSV),
    ("PowerPoint Document", "a PowerPoint presentation", _AS_WORD),
)
# Formats by a file that only they contain; any other zip is an archive.
_ZIP_KINDS = {
    "META-INF/container.xml": ".epub",
    "content.xml": ".odt",
}
_OFFICE_TYPES = "[Content_Types].xml"
_UNSUPPORTED_ZIPS = {
    "xl/workbook.xml": ("an Excel workbook", _AS_CSV),
    "ppt/presentation.xml": ("a PowerPoint presentation", _AS_WORD),
    "Index/Document.iwa": ("an Apple Pages document", "Export it from Pages as Word or EPUB, and drop that."),
}
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_HTML = re.compile(rb"(?:\s|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype\s+html|html|head|body)[\s>]", re.S | re.I)
_FICTION_BOOK = re.compile(rb"\s*<\?xml[^>]*>\s*<FictionBook\b", re.I)


def sniff(stream: IO[bytes]) -> str | None:
    """Return the suffix that fits a file's content, such as `.docx`, or None if it is not recognised.

    The stream is left at its beginning. Blanks or a byte order mark before a PDF's signature are allowed.

    Raises:
        UnreadableError: it is empty, or in an unsupported format.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise UnreadableError("It is empty.", "Put the story's text into it and drop it again.")
    found = _kind(head, stream)
    stream.seek(0)
    return found


def _kind(head: bytes, stream: IO[bytes]) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(stream)
    if head.startswith(_OLD_OFFICE[:4]):
        raise _old_office(stream)
    _refuse_unsupported(head)
    text = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if text.startswith(b"%PDF-"):
        return ".pdf"
    if text.startswith(b"{\\rtf"):
        return ".rtf"
    if _FICTION_BOOK.match(text):
        raise _unsupported("a FictionBook", _AS_EPUB)
    return ".html" if _HTML.match(text) else None


def _refuse_unsupported(head: bytes) -> None:
    for unsupported in _UNSUPPORTED_FORMATS:
        magic = unsupported.magic
        if head[unsupported.offset : unsupported.offset + len(magic)] != magic:
            continue
        if b"\0" in head or not magic.isascii() or magic in _ASCII_MAGIC:
            raise _unsupported(unsupported.what, unsupported.cure)


def _unsupported(what: str, cure: str) -> UnreadableError:
    return UnreadableError(f"It holds {what}, although its name may say otherwise.", cure)


def _old_office(stream: IO[bytes]) -> UnreadableError:
    stream.seek(0)
    data = stream.read(_OLD_OFFICE_DIRECTORY_BYTES)
    for name, what, cure in _OFFICE_KINDS:
        if name.encode("utf-16-le") in data:
            return _unsupported(what, cure)
    return _unsupported("an Office document of the kind before 2007", _AS_WORD)


def _zip_kind(stream: IO[bytes]) -> str:
    try:
        with zipfile.ZipFile(_BoundedReads(stream)) as archive:
            names = set(archive.namelist())
            if "content.xml" in names and not _is_text_document(archive):
                raise _unsupported("a LibreOffice sheet, slide show or drawing", _AS_CSV)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, zlib.error, EOFError):
        return ".zip"  # its reader reports the damage
    for name, (what, cure) in _UNSUPPORTED_ZIPS.items():
        if name in names:
            raise _unsupported(what, cure)
    # Not every program names the main part word/document.xml.
    if _OFFICE_TYPES in names and any(name.startswith("word/") for name in names):
        return ".docx"
    return next((suffix for name, suffix in _ZIP_KINDS.items() if name in names), ".zip")


def _is_text_document(archive: zipfile.ZipFile) -> bool:
    if "mimetype" not in archive.namelist():
        return True
    with archive.open("mimetype") as file:
        kind = file.read(200).strip()
    return not kind.startswith(_OPEN_DOCUMENT) or kind.startswith(_OPEN_DOCUMENT + b"text")


class _BoundedReads:
    """A zip file that refuses large reads.

    zipfile reads a zip's directory as a whole, and its size can be given in several places. What counts is
    how much of it zipfile asks for in the end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a number of bytes.

        Raises:
            UnreadableError: there are more than any directory may have.
        """
        most = _LARGEST_DIRECTORY_BYTES + 1
        data = self._stream.read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise UnreadableError("The zip lists more files than can be read.", "Split it into several zips.")
        return data
