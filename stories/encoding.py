"""Bytes to text: UTF-8 and UTF-16 with and without a byte order mark, and the encodings before Unicode."""

import codecs

from charset_normalizer import from_bytes

from stories.errors import UnreadableError
from stories.language import identify

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FORMATS = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a zip, Word or EPUB file"),
    (b"{\\rtf", "a rich text (RTF) document"),
    (b"\xd0\xcf\x11\xe0", "an old Word document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
)
_SAVE_AS_TEXT = "Open it in the program that made it and save it as plain text (.txt, UTF-8)."
# Where Central Europe's code page and Western Europe's give the same bytes to different letters, the
# language of the text, most of whose letters they share, tells which one it was.
_CENTRAL_EUROPEAN = {"pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"}
_WESTERN_OR_CENTRAL = {"cp1250", "cp1252", "latin_1", "iso8859_2", "iso8859_15"}
_SAMPLE_BYTES = 256 * 1024
_MOST_CONTROL_CHARACTERS = 0.02


def decode(data: bytes) -> str:
    """Decode a file's bytes.

    Raises:
        UnreadableError: the bytes are no text.
    """
    _refuse_other_formats(data)
    encoding = detect(data)
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise UnreadableError(
            f"It looks like {encoding} text, but some of its bytes are damaged.",
            "Open it in an editor, check that it reads well, and save it as UTF-8.",
        ) from error
    _refuse_binary(text)
    return text


def detect(data: bytes) -> str:
    """Name the encoding of a file's bytes.

    Raises:
        UnreadableError: no encoding makes text of them.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    if b"\0" in data:
        return _utf16_without_mark(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return _legacy(data)
    return "utf-8"


def _utf16_without_mark(data: bytes) -> str:
    # Spaces, line ends and Latin letters have a zero byte, always on the same side.
    zeros = (data[0::2].count(0), data[1::2].count(0))
    if len(data) % 2 == 0 and min(zeros) * 50 <= max(zeros):
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)


def _legacy(data: bytes) -> str:
    sample = data[:_SAMPLE_BYTES]
    best = from_bytes(sample).best()
    if best is None:
        raise UnreadableError("It is in no text encoding that we know.", _SAVE_AS_TEXT)
    if best.encoding not in _WESTERN_OR_CENTRAL:
        return best.encoding
    language = identify(sample.decode("cp1252", errors="ignore"))
    wanted = "cp1250" if language in _CENTRAL_EUROPEAN else "cp1252"
    return wanted if _decodes(data, wanted) else best.encoding


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_other_formats(data: bytes) -> None:
    for magic, what in _OTHER_FORMATS:
        if data.startswith(magic):
            raise UnreadableError(f"It holds {what}, whatever its name says.", _SAVE_AS_TEXT)


def _refuse_binary(text: str) -> None:
    controls = sum(1 for character in text if character < " " and character not in "\t\n\v\f\r\x1b")
    if controls > len(text) * _MOST_CONTROL_CHARACTERS:
        raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)
