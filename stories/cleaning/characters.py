"""Repair characters that the author did not type: mojibake, invisible characters, other line ends."""

# ruff: noqa: RUF001 - the unusual characters are the ones to find

import re
import unicodedata

import ftfy
from ftfy.badness import is_bad
from ftfy.fixes import fix_surrogates, remove_terminal_escapes

from stories.records import Edit

# Only damage is repaired. What an author may have meant (curly quotes, ligatures, wide letters) stays.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    uncurl_quotes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    explain=False,
)
# Signs of text decoded with the wrong encoding: a control character, or two non-ASCII characters side by side
# that are not both typography, or the first half of an accented letter whose second half became a space.
_TYPOGRAPHY = "\xa0«»–—‘’“”…"
_SUSPECT = re.compile(
    rf"[\x80-\x9f]|[^\x00-\x7f{_TYPOGRAPHY}][^\x00-\x7f]"
    rf"|[^\x00-\x7f][^\x00-\x7f{_TYPOGRAPHY}]|[ÂÃÎÐÑØÙàâãîðñ] "
)
# Putting combining marks in order takes time by the square of how many stand in a row. No writing has more
# than a few; Unicode's stream-safe format (UAX #15) allows as many.
_MAX_MARKS = 30
_MARKS = "".join(chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
# The blocks that contain combining marks, as ranges that are fast to search.
_BLOCKS_OF_MARKS = (
    r"\u0300-\u1fff\u20d0-\u20ff\u2c80-\u2fff\u302a-\u302f\u3099\u309a\ua000-\uabff\ufb1e-\U0001f000"
)
_PERHAPS_TOO_MANY_MARKS = re.compile(f"[{_BLOCKS_OF_MARKS}][{_BLOCKS_OF_MARKS}]{{{_MAX_MARKS}}}")
_TOO_MANY_MARKS = re.compile(f"[{_MARKS}][{_MARKS}]{{{_MAX_MARKS},}}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_IN_OTHER_LINE_ENDS = re.compile("[\r\v\x85\u2028\u2029]")
_OTHER_LINE_ENDS = re.compile("\r\n?|[\v\x85\u2028\u2029]")
# Of the control characters only tab, line feed and form feed mean something. Joiners between letters stay,
# and so do soft hyphens, which are removed with the other hyphens.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u2060\u206a-\u206f\ufeff\ufff9-\ufffc\ufffe\uffff]"
)


def unify_line_ends(text: str) -> Edit:
    """Convert all line ends to line feeds."""
    if not _IN_OTHER_LINE_ENDS.search(text):  # a tenth of the cost of the substitution
        return Edit(text)
    whole, places = _OTHER_LINE_ENDS.subn(_line_end, text)
    return Edit(whole, places)


def trim(text: str) -> Edit:
    """Remove the empty lines before and after a text."""
    return Edit(text.strip("\r\n"))


def _line_end(found: re.Match[str]) -> str:
    return "\n\n" if found[0] == "\u2029" else "\n"


def repair_mojibake(text: str) -> Edit:
    """Repair text that was decoded with the wrong encoding once, such as `itâ€™s`."""
    if text.isascii():
        return Edit(text)
    places = 0
    if _PERHAPS_TOO_MANY_MARKS.search(text):
        text, places = _TOO_MANY_MARKS.subn(lambda found: found[0][:_MAX_MARKS], text)
    if _SURROGATE.search(text):
        text = fix_surrogates(text)
    if not _SUSPECT.search(text):
        return Edit(text, places)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        # Running ftfy on every line of a novel would take longer than all other cleaning together.
        if not line.isascii() and _SUSPECT.search(line) and is_bad(line):
            lines[number] = ftfy.fix_text(line, _FTFY)
            places += lines[number] != line
    return Edit("\n".join(lines), places)


def drop_invisible(text: str) -> Edit:
    """Remove invisible characters (controls, zero-width spaces) and compose accented letters (NFC)."""
    if "\x1b" in text:
        text = remove_terminal_escapes(text)
    text, places = _INVISIBLE.subn("", text)
    return Edit(unicodedata.normalize("NFC", text), places)
