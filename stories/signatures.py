"""Tells what a file holds by its first bytes, whatever its name says."""

import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

from stories.errors import UnreadableError

HEAD_BYTES = 4096

_AS_TEXT = "Open it in the program that made it and save it as plain text (.txt, UTF-8)."
_AS_WORD = "Open it in the program that made it and save it as a Word document (.docx)."
_AS_CSV = "Save the sheet that holds the stories as .csv, with columns named title and text."
_AS_EPUB = "Convert it to EPUB, for instance with the free program Calibre, and drop that."
_AS_ZIP = "Unpack it, and drop the stories themselves or a .zip of them."
_LEAVE_OUT = "Leave it out: only text can be learnt from."
_WITHOUT_PASSWORD = "Save it without a password and drop it again."  # noqa: S105 - advice, no password

# A zip's list of files is held in memory: 46 bytes and a path for each. No zip of stories needs more.
_LARGEST_DIRECTORY_BYTES = 8 * 1024**2

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLD_OFFICE_DIRECTORY_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class _Foreign:
    """A format that no story can be read from."""

    magic: bytes
    what: str
    cure: str
    offset: int = 0


_FOREIGN = (
    _Foreign(b"\x89PNG", "a picture", _LEAVE_OUT),
    _Foreign(b"\xff\xd8\xff", "a picture", _LEAVE_OUT),
    _Foreign(b"GIF8", "a picture", _LEAVE_OUT),
    _Foreign(b"BM", "a picture", _LEAVE_OUT),
    _Foreign(b"II*\0", "a picture", _LEAVE_OUT),
    _Foreign(b"MM\0*", "a picture", _LEAVE_OUT),
    _Foreign(b"WEBP", "a picture", _LEAVE_OUT, offset=8),
    _Foreign(b"ftypheic", "a picture", _LEAVE_OUT, offset=4),
    _Foreign(b"\0\0\1\0", "a picture", _LEAVE_OUT),
    _Foreign(b"ftyp", "a film or a recording", _LEAVE_OUT, offset=4),
    _Foreign(b"\x1a\x45\xdf\xa3", "a film or a recording", _LEAVE_OUT),
    _Foreign(b"RIFF", "a film or a recording", _LEAVE_OUT),
    _Foreign(b"ID3", "a film or a recording", _LEAVE_OUT),
    _Foreign(b"OggS", "a film or a recording", _LEAVE_OUT),
    _Foreign(b"fLaC", "a film or a recording", _LEAVE_OUT),
    _Foreign(b"\x1f\x8b", "a gzip archive", _AS_ZIP),
    _Foreign(b"BZh", "a bzip2 archive", _AS_ZIP),
    _Foreign(b"\xfd7zXZ\0", "an xz archive", _AS_ZIP),
    _Foreign(b"\x28\xb5\x2f\xfd", "a zstd archive", _AS_ZIP),
    _Foreign(b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _AS_ZIP),
    _Foreign(b"Rar!\x1a\x07", "a RAR archive", _AS_ZIP),
    _Foreign(b"ustar", "a tar archive", _AS_ZIP, offset=257),
    _Foreign(b"BOOKMOBI", "a Kindle book", _AS_EPUB, offset=60),
    _Foreign(b"\xeaDRMION\xee", "a Kindle book", _AS_EPUB),
    _Foreign(b"AT&TFORM", "a DjVu document", _AS_TEXT),
    _Foreign(b"%!PS", "a PostScript document", _AS_TEXT),
    _Foreign(b"\xffWPC", "a WordPerfect document", _AS_WORD),
    _Foreign(b"\x7fELF", "a program", _LEAVE_OUT),
    _Foreign(b"MZ", "a program", _LEAVE_OUT),
    _Foreign(b"\xcf\xfa\xed\xfe", "a program", _LEAVE_OUT),
    _Foreign(b"\xca\xfe\xba\xbe", "a program", _LEAVE_OUT),
    _Foreign(b"\0asm", "a program", _LEAVE_OUT),
    _Foreign(b"SQLite format 3\0", "a database", _AS_CSV),
    _Foreign(b"PAR1", "a Parquet table", _AS_CSV),
    _Foreign(b"bplist", "a settings file", _LEAVE_OUT),
    _Foreign(b"wOFF", "a typeface", _LEAVE_OUT),
    _Foreign(b"OTTO", "a typeface", _LEAVE_OUT),
)
_SPELLED = (b"%!PS",)
"""What no text begins with although it is all letters; other such beginnings count with a zero byte only."""

_OFFICE_KINDS = (
    ("EncryptedPackage", "a document that is protected by a password", _WITHOUT_PASSWORD),
    ("WordDocument", "a Word document of the kind before 2007 (.doc)", "Save it as .docx and drop that."),
    ("Workbook", "an Excel workbook", _AS_CSV),
    ("PowerPoint Document", "a PowerPoint presentation", _AS_WORD),
)
# By a file that only they have inside; a zip with none of these is just a zip.
_ZIP_KINDS = {
    "META-INF/container.xml": ".epub",
    "content.xml": ".odt",
}
_OFFICE_TYPES = "[Content_Types].xml"
_FOREIGN_ZIPS = {
    "xl/workbook.xml": ("an Excel workbook", _AS_CSV),
    "ppt/presentation.xml": ("a PowerPoint presentation", _AS_WORD),
    "Index/Document.iwa": ("an Apple Pages document", "Export it from Pages as Word or EPUB, and drop that."),
}
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_HTML = re.compile(rb"(?:\s|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype\s+html|html|head|body)[\s>]", re.S | re.I)
_FICTION_BOOK = re.compile(rb"\s*<\?xml[^>]*>\s*<FictionBook\b", re.I)


def sniff(stream: IO[bytes]) -> str | None:
    """Return the ending that a file's content deserves, such as `.docx`; None where nothing tells.

    The stream is left at its beginning. A PDF with other bytes before it is recognised, too.

    Raises:
        UnreadableError: it is empty, or of a format that no story can be read from.
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
    _refuse_foreign(head)
    text = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if text.startswith(b"%PDF-"):
        return ".pdf"
    if text.startswith(b"{\\rtf"):
        return ".rtf"
    if _FICTION_BOOK.match(text):
        raise _foreign("a FictionBook", _AS_EPUB)
    return ".html" if _HTML.match(text) else None


def _refuse_foreign(head: bytes) -> None:
    for foreign in _FOREIGN:
        magic = foreign.magic
        if head[foreign.offset : foreign.offset + len(magic)] != magic:
            continue
        if b"\0" in head or not magic.isascii() or magic in _SPELLED:
            raise _foreign(foreign.what, foreign.cure)


def _foreign(what: str, cure: str) -> UnreadableError:
    return UnreadableError(f"It holds {what}, whatever its name says.", cure)


def _old_office(stream: IO[bytes]) -> UnreadableError:
    stream.seek(0)
    data = stream.read(_OLD_OFFICE_DIRECTORY_BYTES)
    for name, what, cure in _OFFICE_KINDS:
        if name.encode("utf-16-le") in data:
            return _foreign(what, cure)
    return _foreign("an Office document of the kind before 2007", _AS_WORD)


def _zip_kind(stream: IO[bytes]) -> str:
    try:
        with zipfile.ZipFile(_BoundedReads(stream)) as archive:
            names = set(archive.namelist())
            if "content.xml" in names and not _is_text_document(archive):
                raise _foreign("a LibreOffice sheet, slide show or drawing", _AS_CSV)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, zlib.error, EOFError):
        return ".zip"  # whose reader says what is damaged
    for name, (what, cure) in _FOREIGN_ZIPS.items():
        if name in names:
            raise _foreign(what, cure)
    # Not every program calls the document itself word/document.xml.
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
    """A zip of which so much is read at once and no more.

    Its list of files is read as a whole, and how long it is can be said in several places. What counts is how
    much of it zipfile asks for in the end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most so many bytes.

        Raises:
            UnreadableError: there are more than any list of files has.
        """
        most = _LARGEST_DIRECTORY_BYTES + 1
        data = self._stream.read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise UnreadableError(
                "The zip holds far more files than we can list.", "Split it into several zips."
            )
        return data
