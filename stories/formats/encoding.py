"""Decode files: Unicode with or without a byte order mark, older encodings, and damaged files."""

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator
from typing import IO

from charset_normalizer import from_bytes

from stories.language import identify
from stories.records import UnreadableError

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_REPAIR = "storyloom-repair"
"""Name of the error handler below, for `codecs`."""
_SAVE_AS_TEXT = "Open it in the program that made it and save it as plain text (.txt, UTF-8)."
_CHECK = "Open it in an editor, check that it reads well, and save it as UTF-8."
# The Central European and the Western European code page share most letters but not all. The language of the
# text decides between them.
_CENTRAL_EUROPEAN = {"pl", "cs", "sk", "hu", "sl", "hr", "bs", "ro", "sq"}
_LATIN = {"cp1250", "cp1252", "cp1254", "latin_1", "iso8859_2", "iso8859_9", "iso8859_10", "iso8859_15"}
_KOREAN_OR_JAPANESE = {"cp949", "euc_kr", "johab", "big5", "gb18030"}
_KANA = re.compile("[\u3041-\u30fe]")
_MIN_KANA = 0.2
# ISO 2022-JP and similar encodings write characters as ASCII after an escape sequence.
_JAPANESE_ESCAPE = re.compile(rb"\x1b\$[@B]")
_CHINESE_ESCAPE = re.compile(rb"~\{(?:[!-w][!-~])+~\}")

_SAMPLE_BYTES = 256 * 1024
_PART_CHARACTERS = 8 * 1024**2
_MAX_CONTROL_CHARACTERS = 0.02
_MAX_DAMAGE = 0.02
_FEW_ZEROS = 0.05
_UNLIKELY_CATEGORIES = {"Cn", "Co", "Cs", "Cc"}
_BREAKS = re.compile("[ \n\u3000-\u3002\uff0c]")
_CONTROLS = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n|\f")


def decode(data: bytes) -> str:
    """Decode a file's bytes.

    Minor damage is repaired: a truncated last character, surrogate halves, a few bytes of another encoding.

    Raises:
        UnreadableError: the bytes are not text.
    """
    text = data.decode(detect_encoding(data), _REPAIR)
    _refuse_binary(text)
    return text


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text."""
    try:
        decode(head)
    except UnreadableError:
        return False
    return True


def open_text(stream: IO[bytes]) -> io.TextIOWrapper:
    """Return a reader of the text in a stream, with line ends unchanged. Detach it when done.

    Raises:
        UnreadableError: the first bytes are not text.
    """
    head = stream.read(_SAMPLE_BYTES)
    stream.seek(-len(head), io.SEEK_CUR)
    encoding = detect_encoding(head)
    if encoding == "utf-8" and head.isascii():
        encoding = _encoding_after_ascii(stream)
    return io.TextIOWrapper(stream, encoding=encoding, errors=_REPAIR, newline="")


def decode_in_parts(stream: IO[bytes]) -> Iterator[str]:
    """Decode a file of any size in parts of about eight million characters that end with a paragraph.

    Joined, the parts are the whole text. The encoding is detected from the beginning of the file.

    Raises:
        UnreadableError: the bytes are not text; the parts before them have been yielded.
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


def detect_encoding(data: bytes) -> str:
    """Return the name of the encoding of a file's bytes.

    Raises:
        UnreadableError: the bytes are not text in any known encoding.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    zeros = data.count(0)
    if zeros and not _is_utf8_with_zeros(data, zeros):
        return _utf16_or_utf32(data)
    if _JAPANESE_ESCAPE.search(data):
        return "iso2022_jp"
    if data.isascii():
        return "hz" if _CHINESE_ESCAPE.search(data) and _decodes(data, "hz") else "utf-8"
    return "utf-8" if _is_mostly_utf8(data) else _legacy(_sample(data))


def _sample(data: bytes) -> bytes:
    """Return whole lines from the beginning, because a truncated character would look like damage."""
    sample = data[:_SAMPLE_BYTES]
    return sample[: sample.rfind(b"\n") + 1] or sample


def _repair(error: UnicodeError) -> tuple[str, int]:
    """Return a replacement for bytes that a codec cannot decode."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    damaged = error.object[error.start : error.end]
    if error.encoding == "utf-8":
        return _repair_utf8(error, damaged)
    if error.encoding.startswith("utf-16"):
        return "", error.end  # an unpaired surrogate, or the first byte of a truncated character
    return "\ufffd", error.end


def _repair_utf8(error: UnicodeDecodeError, damaged: bytes) -> tuple[str, int]:
    following = error.object[error.start : error.start + 6]
    if following[:1] == b"\xed" and len(following) > 1 and following[1] >= 0xA0:
        return _join_surrogates(following, error.start)
    if error.end == len(error.object) and error.reason == "unexpected end of data":
        return "", error.end
    return damaged.decode("cp1252", "replace"), error.end


def _join_surrogates(following: bytes, start: int) -> tuple[str, int]:
    """Join two surrogates that were each encoded as UTF-8; remove an unpaired one."""
    if re.fullmatch(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]", following):
        pair = following.decode("utf-8", "surrogatepass")
        return pair.encode("utf-16", "surrogatepass").decode("utf-16"), start + 6
    return "", start + min(3, len(following))


codecs.register_error(_REPAIR, _repair)


def _is_mostly_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8, apart from a truncated end or a few bytes of another encoding."""
    try:
        # Surrogate pairs, as some programs write emoji, are joined later.
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":
            return True
        text = data.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        # In older encodings two letters in a row rarely form valid UTF-8.
        return sum(not character.isascii() for character in text) - damaged > damaged * 2
    return True


def _is_utf8_with_zeros(data: bytes, zeros: int) -> bool:
    """Return whether a file is UTF-8 despite zero bytes: a few, or padding at the end of a recovered file."""
    text = data.rstrip(b"\0")
    if text.count(0) > len(text) * _FEW_ZEROS or zeros > len(data) * 0.5:
        return False
    if not _decodes(text, "utf-8"):
        return False
    controls = sum(byte < 0x20 and byte not in b"\t\n\v\f\r" for byte in text[:_SAMPLE_BYTES])
    return controls <= min(len(text), _SAMPLE_BYTES) * _MAX_CONTROL_CHARACTERS


def _utf16_or_utf32(data: bytes) -> str:
    """Choose UTF-16 or UTF-32 and the byte order, in which few characters are unassigned."""
    sample = data[: _SAMPLE_BYTES - _SAMPLE_BYTES % 4]
    sample = sample[: len(sample) - len(sample) % 2]
    unlikely = {
        encoding: _unlikely(sample, encoding)
        for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
    }
    likely = [encoding for encoding, share in unlikely.items() if share <= _MAX_DAMAGE]
    if not likely:
        raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)
    # In the wrong byte order Latin letters become Chinese characters, but spaces and line ends become rare
    # ones.
    return max(likely, key=lambda encoding: len(_BREAKS.findall(sample.decode(encoding, "replace"))))


def _unlikely(sample: bytes, encoding: str) -> float:
    text = sample.decode(encoding, "replace")
    odd = sum(
        character == "\ufffd"
        or (unicodedata.category(character) in _UNLIKELY_CATEGORIES and character not in "\t\n\v\f\r")
        for character in text
    )
    return odd / max(1, len(text))


def _encoding_after_ascii(stream: IO[bytes]) -> str:
    """Detect the encoding of a file that begins with ASCII, by its first part that is not ASCII."""
    start = stream.tell()
    try:
        while chunk := stream.read(_SAMPLE_BYTES):
            if not chunk.isascii():
                line_end = stream.readline(_SAMPLE_BYTES)
                return detect_encoding(chunk[chunk.find(b"\n") + 1 :] + line_end)
    finally:
        stream.seek(start)
    return "utf-8"


def _legacy(sample: bytes) -> str:
    best = from_bytes(sample).best()
    if best is None:
        raise UnreadableError("Its text encoding is not known.", _SAVE_AS_TEXT)
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
    return len(_KANA.findall(text)) > len(text) * _MIN_KANA


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _refuse_binary(text: str) -> None:
    controls = len(_CONTROLS.findall(text))
    if controls > len(text) * _MAX_CONTROL_CHARACTERS:
        raise UnreadableError("It holds binary data, not text.", _SAVE_AS_TEXT)
    if text.count("\ufffd") > len(text) * _MAX_DAMAGE:
        raise UnreadableError("Many of its characters are damaged.", _CHECK)


def _last_break(text: str) -> int:
    """Return the end of the last paragraph; if there is none, of the last line, sentence or word."""
    half = len(text) // 2
    blank = [found.end() for found in _BLANK_LINE.finditer(text, max(half, len(text) - 1024**2))]
    if blank:
        return blank[-1]
    ends = (text.rfind(mark, half) + len(mark) for mark in ("\n", ". ", "。", " "))
    return next((end for end in ends if end > half), len(text))
