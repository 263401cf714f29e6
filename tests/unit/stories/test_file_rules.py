"""One rule for the names of files from all sources."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stories import file_rules

GOOD = [
    "a.txt",
    "tales/The Hill, it's 100%? #1.txt",
    "böse/ü+1&.txt",
    "物語/第一章.txt",
    "داستان.txt",
    "👩‍👩‍👧 family.md",
    "half a {brace} and $money.txt",
    ".hidden",
    "..dots..",
    "a" * 1024,
]
BAD = {
    "nothing": ("", "empty"),
    "S3's variable": ("${filename}", "${"),
    "S3's variable within": ("a/${filename}.txt", "${"),
    "a newline": ("a\nb.txt", "U+000A"),
    "an escape": ("a\x1b[2J.txt", "U+001B"),
    "a NUL": ("a\0.txt", "U+0000"),
    "a C1 control": ("a\x9b.txt", "U+009B"),
    "delete": ("a\x7f.txt", "U+007F"),
    "right-to-left override": ("a\u202etxt.exe", "U+202E"),
    "an isolate": ("a\u2066.txt", "U+2066"),
    "a right-to-left mark": ("a\u200f.txt", "U+200F"),
    "a line separator": ("a\u2028.txt", "U+2028"),
    "half of a character": ("a\ud800.txt", "U+D800"),
    "what XML cannot hold": ("a\uffff.txt", "U+FFFF"),
    "a way out": ("../x.txt", ".."),
    "a way out within": ("a/../../x.txt", ".."),
    "a way out, on Windows": ("..\\x.txt", ".."),
    "a folder that is none": ("a/./x.txt", "."),
    "an empty segment": ("a//x.txt", "slash"),
    "a leading slash": ("/etc/passwd", "slash"),
    "a trailing slash": ("a/", "slash"),
    "a leading blank": (" a.txt", "white space"),
    "a trailing blank": ("a.txt\u3000", "white space"),
    "1,025 bytes": ("ü" * 513, "1,026 bytes"),
}


@pytest.mark.parametrize("name", GOOD)
def test_common_file_names_are_allowed(name: str) -> None:
    assert file_rules.name_problem(file_rules.normalize_name(name)) is None
    assert file_rules.printable(name) == name


@pytest.mark.parametrize(("name", "says"), BAD.values(), ids=BAD.keys())
def test_an_invalid_name_is_refused_with_the_reason(name: str, says: str) -> None:
    assert says in str(file_rules.name_problem(file_rules.normalize_name(name)))


def test_a_name_is_normalized() -> None:
    """macOS writes ü as two characters, so one name would be two stories."""
    assert file_rules.normalize_name(unicodedata.normalize("NFD", "Über.txt")) == "Über.txt"


@given(st.text(max_size=40))
def test_every_name_can_be_displayed(name: str) -> None:
    shown = file_rules.printable(name)
    shown.encode()
    assert file_rules.unsafe_character(shown) is None
    if file_rules.name_problem(name) is None:
        assert shown == name
        assert not any(unicodedata.bidirectional(character) in _OVERRIDES for character in name)


_OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""The explicit formatting characters of Unicode's bidirectional algorithm."""
