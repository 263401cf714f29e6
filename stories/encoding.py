"""Bytes to text: Unicode with and without a byte order mark, the encodings before it, and damaged files."""

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator
from typing import IO

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
_MEND = "storyloom-mend"
"""Name of the codecs error handler below."""
_SAVE_AS_TEXT = "Open it in the program that made it and save it as plain text (.txt, UTF-8)."
_CHECK = "Open it in an editor, check that it reads well, and save it as UTF-8."
# Where Central Europe's code page and Western Europe's give the same bytes to different letters, the
# language of the text, most of whose letters they share, tells which one it was.
_CENTRAL_EUROPEAN = {"pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"}
_LATIN = {"cp1250", "cp1252", "cp1254", "latin_1", "iso8859_2", "iso8859_9", "iso8859_10", "iso8859_15"}
_KOREAN_OR_JAPANESE = {"cp949", "euc_kr", "johab", "big5", "gb18030"}
_KANA = re.compile("[\u3041-\u30fe]")
_LEAST_KANA = 0.2
# ISO 2022-JP and its kind spell their characters in ASCII after an escape sequence.
_JAPANESE_ESCAPE = re.compile(rb"\x1b\$[@B]")
_CHINESE_ESCAPE = re.compile(rb"~\{(?:[!-w][!-~])+~\}")

_SAMPLE_BYTES = 256 * 1024
_PART_CHARACTERS = 8 * 1024**2
_MOST_CONTROL_CHARACTERS = 0.02
_MOST_DAMAGE = 0.02
_FEW_ZEROS = 0.05
_UNLIKELY_CATEGORIES = {"Cn", "Co", "Cs", "Cc"}
_BREAKS = re.compile("[ \n\u3000-\u3002\uff0c]")
_CONTROLS = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n|\f")


def decode(data: bytes) -> str:
    """Decode a file's bytes.

    What is damaged here and there is mended: a character cut at the end, halves of characters, a few bytes
    of another encoding.

    Raises:
        UnreadableError: the bytes are no text.
    """
    text = data.decode(detect(data), _MEND)
    _refuse_binary(text)
    return text


def is_text(head: bytes) -> bool:
    """Tell whether the first bytes of a file are text."""
    try:
        decode(head)
    except UnreadableError:
        return False
    return True


def open_text(stream: IO[bytes]) -> io.TextIOWrapper:
    """Return a reader of the text in a stream, its line ends as they are. Detach it when done.

    Raises:
        UnreadableError: the bytes at its beginning are no text.
    """
    head = stream.read(_SAMPLE_BYTES)
    stream.seek(-len(head), io.SEEK_CUR)
    encoding = detect(head)
    if encoding == "utf-8" and head.isascii():
        encoding = _beyond(stream)
    return io.TextIOWrapper(stream, encoding=encoding, errors=_MEND, newline="")


def decode_in_parts(stream: IO[bytes]) -> Iterator[str]:
    """Decode a file of any size in parts of about eight million characters that end with a paragraph.

    Together the parts are the whole text. Only the file's first part tells its encoding.

    Raises:
        UnreadableError: the bytes are no text; parts before them have been yielded.
    """
    text = open_text(stream)
    try:
        rest = ""
        while more := text.read(_PART_CHARACTERS):
            rest += more
            if len(more) == _PART_CHARACTERS:
                end = _last_break(rest)
                _refuse_binary(rest[:end])
                yield rest[:end]
                rest = rest[end:]
        if rest:
            _refuse_binary(rest)
            yield rest
    finally:
        text.detach()


def detect(data: bytes) -> str:
    """Name the encoding of a file's bytes.

    Raises:
        UnreadableError: no encoding makes text of them.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    zeros = data.count(0)
    if zeros and not _is_utf8_with_zeros(data, zeros):
        return _wide_without_mark(data)
    if _JAPANESE_ESCAPE.search(data):
        return "iso2022_jp"
    if data.isascii():
        return "hz" if _CHINESE_ESCAPE.search(data) and _decodes(data, "hz") else "utf-8"
    return "utf-8" if _is_mostly_utf8(data) else _legacy(_sample(data))


def _sample(data: bytes) -> bytes:
    """Return whole lines from the beginning: a character that was cut would look like damage."""
    sample = data[:_SAMPLE_BYTES]
    return sample[: sample.rfind(b"\n") + 1] or sample


def _mend(error: UnicodeError) -> tuple[str, int]:
    """Stand in for what a codec cannot decode."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    damaged = error.object[error.start : error.end]
    if error.encoding == "utf-8":
        return _mended_utf8(error, damaged)
    if error.encoding.startswith("utf-16"):
        return "", error.end  # half of a pair, or the first byte of a character that was cut
    return "\ufffd", error.end


def _mended_utf8(error: UnicodeDecodeError, damaged: bytes) -> tuple[str, int]:
    following = error.object[error.start : error.start + 6]
    if following[:1] == b"\xed" and len(following) > 1 and following[1] >= 0xA0:
        return _halves(following, error.start)
    if error.end == len(error.object) and error.reason == "unexpected end of data":
        return "", error.end
    return damaged.decode("cp1252", "replace"), error.end


def _halves(following: bytes, start: int) -> tuple[str, int]:
    """Join the two halves of a character that were each written as UTF-8; a half on its own goes."""
    if re.fullmatch(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]", following):
        pair = following.decode("utf-8", "surrogatepass")
        return pair.encode("utf-16", "surrogatepass").decode("utf-16"), start + 6
    return "", start + min(3, len(following))


codecs.register_error(_MEND, _mend)


def _is_mostly_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8, but for a cut end or a few that came from elsewhere."""
    try:
        # Halves of characters, as some programs write emoji, are put together afterwards.
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":
            return True
        text = data.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        # In an older encoding hardly any two letters together look like UTF-8.
        return sum(not character.isascii() for character in text) - damaged > damaged * 2
    return True


def _is_utf8_with_zeros(data: bytes, zeros: int) -> bool:
    """Tell whether the zero bytes are only dirt: few, or the padding at the end of a rescued file."""
    text = data.rstrip(b"\0")
    if text.count(0) > len(text) * _FEW_ZEROS or zeros > len(data) * 0.5:
        return False
    if not _decodes(text, "utf-8"):
        return False
    controls = sum(byte < 0x20 and byte not in b"\t\n\v\f\r" for byte in text[:_SAMPLE_BYTES])
    return controls <= min(len(text), _SAMPLE_BYTES) * _MOST_CONTROL_CHARACTERS


def _wide_without_mark(data: bytes) -> str:
    """Choose a byte order of UTF-16 or UTF-32: in the wrong one much of a text is no character."""
    sample = data[: _SAMPLE_BYTES - _SAMPLE_BYTES % 4]
    sample = sample[: len(sample) - len(sample) % 2]
    unlikely = {
        encoding: _unlikely(sample, encoding)
        for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
    }
    likely = [encoding for encoding, share in unlikely.items() if share <= _MOST_DAMAGE]
    if not likely:
        raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)
    # Latin letters the wrong way round are Chinese characters, but spaces and line ends are nothing usual.
    return max(likely, key=lambda encoding: len(_BREAKS.findall(sample.decode(encoding, "replace"))))


def _unlikely(sample: bytes, encoding: str) -> float:
    text = sample.decode(encoding, "replace")
    odd = sum(
        character == "\ufffd"
        or (unicodedata.category(character) in _UNLIKELY_CATEGORIES and character not in "\t\n\v\f\r")
        for character in text
    )
    return odd / max(1, len(text))


def _beyond(stream: IO[bytes]) -> str:
    """Name the encoding of a file whose beginning is plain ASCII by the first part of it that is not."""
    start = stream.tell()
    try:
        while chunk := stream.read(_SAMPLE_BYTES):
            if not chunk.isascii():
                line_end = stream.readline(_SAMPLE_BYTES)
                return detect(chunk[chunk.find(b"\n") + 1 :] + line_end)
    finally:
        stream.seek(start)
    return "utf-8"


def _legacy(sample: bytes) -> str:
    best = from_bytes(sample).best()
    if best is None:
        raise UnreadableError("It is in no text encoding that we know.", _SAVE_AS_TEXT)
    if best.encoding in _KOREAN_OR_JAPANESE and _is_japanese(sample):
        return "euc_jp"
    if best.encoding not in _LATIN:
        return best.encoding
    language = identify(sample.decode("cp1252", errors="ignore"))
    wanted = "cp1250" if language in _CENTRAL_EUROPEAN else "cp1254" if language == "tr" else "cp1252"
    return wanted if _decodes(sample, wanted) else best.encoding


def _is_japanese(sample: bytes) -> bool:
    if not _decodes(sample, "euc_jp"):
        return False
    text = sample.decode("euc_jp")
    return len(_KANA.findall(text)) > len(text) * _LEAST_KANA


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_binary(text: str) -> None:
    controls = len(_CONTROLS.findall(text))
    if controls > len(text) * _MOST_CONTROL_CHARACTERS:
        raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)
    if text.count("\ufffd") > len(text) * _MOST_DAMAGE:
        raise UnreadableError("Many of its characters are damaged.", _CHECK)


def _last_break(text: str) -> int:
    """Return where the last paragraph ends; where there are none, the last line, sentence or word."""
    half = len(text) // 2
    blank = [found.end() for found in _BLANK_LINE.finditer(text, max(half, len(text) - 1024**2))]
    if blank:
        return blank[-1]
    ends = (text.rfind(mark, half) + len(mark) for mark in ("\n", ". ", "。", " "))
    return next((end for end in ends if end > half), len(text))
