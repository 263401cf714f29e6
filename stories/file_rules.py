"""The rules for a story's file: its name, its size, and the time and memory that reading it may take.

A file's name becomes a key in S3. It is shown to people, written into logs, reports and commands, and
unpacked as a path. A control character or a change of text direction makes it look like another name, a
segment such as `..` leads out of a folder, and S3 replaces `${filename}` by the name of the uploaded file.
"""

import math
import unicodedata

from stories.records import Reject, Source

LONGEST_NAME_BYTES = 1024
"""S3's limit for a key, in UTF-8."""
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, surrogates, line and paragraph separators."""
# ALM, LRM, RLM; LRE, RLE, PDF, LRO, RLO; LRI, RLI, FSI, PDI.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NOT_IN_XML = frozenset("\ufffe\uffff")
"""S3 lists keys in XML, which cannot hold these."""

LARGEST_FILE_BYTES = 200 * 1024**2
"""Fits on a function's temporary disk together with the records read from it."""
LARGEST_TEXT_BYTES = 50 * 1024**2
"""Size limit of a document that has to be held in memory as a whole."""
READING_MEMORY_BYTES = 1280 * 1024**2
"""Memory beyond what the reading process has after its start."""
MAX_READING_SECONDS = 600
"""Processor time for the largest file: less than a Lambda function may run."""

# Ordinary files take a tenth of a second, and at most five seconds a megabyte (PDF files full of text).
_SECONDS_A_FILE = 30
_SECONDS_A_MEGABYTE = 5


def normalize_name(name: str) -> str:
    """Return the name as it is written in a key: composed (NFC), with slashes between folders."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def name_problem(name: str) -> str | None:
    """Return what is wrong with a normalized name, or None if it can be a key."""
    unsafe, size = unsafe_character(name), len(name.encode(errors="replace"))
    segments = set(name.split("/"))
    faults = (
        (not name, "it is empty"),
        (unsafe is not None, f"it has a character that cannot be shown safely ({unsafe})"),
        (name != name.strip(), "it begins or ends with white space"),
        ("" in segments, "it begins or ends with a slash, or has two in a row"),
        (bool(segments & {".", ".."}), "it has . or .. as a folder or a name"),
        ("${" in name, "it has ${, which S3 may replace"),
        (size > LONGEST_NAME_BYTES, f"it has {size:,} bytes in UTF-8, and S3 takes {LONGEST_NAME_BYTES:,}"),
    )
    return next((words for found, words in faults if found), None)


def unsafe_character(text: str) -> str | None:
    """Return the code point, such as `U+202E`, of the first character that is unsafe to show, or None."""
    found = next((character for character in text if _is_unsafe(character)), None)
    return f"U+{ord(found):04X}" if found is not None else None


def printable(name: str) -> str:
    """Return the name with unsafe characters replaced by their code points, so that it can be shown."""
    return "".join(f"<U+{ord(one):04X}>" if _is_unsafe(one) else one for one in name)


def _is_unsafe(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    return character in _BIDI or character in _NOT_IN_XML or unicodedata.category(character) in _CONTROLS


def max_reading_seconds(size: int) -> int:
    """Return how many seconds of processor time a file of this size in bytes may take."""
    return min(MAX_READING_SECONDS, _SECONDS_A_FILE + math.ceil(_SECONDS_A_MEGABYTE * size / 1024**2))


def too_large(source: Source, size: int) -> Reject | None:
    """Return the reject of a file that is too large, or None if it may be read."""
    if size <= LARGEST_FILE_BYTES:
        return None
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It is larger than {LARGEST_FILE_BYTES // 1024**2} MB.",
        cure="Split it into several files and drop those.",
    )


def cannot_open(source: Source, error: OSError) -> Reject:
    """Return the reject of a file that the system does not allow us to open."""
    return Reject(
        source_key=source.key,
        source_version=source.version,
        reason=f"It could not be opened: {error.strerror or 'the system gave no reason'}.",
        cure="Give yourself permission to read it, or take it out of the folder.",
    )
