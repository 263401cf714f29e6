"""Parse page numbers."""

import itertools
import re

_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
_WELL_FORMED = re.compile(r"m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})", re.I)


def parse_page_number(numeral: str) -> int | None:
    """Return the value of an Arabic or Roman numeral: `12` and `xii` are 12; None for others, such as `iiii`."""
    if numeral.isdecimal():
        return int(numeral)
    if not numeral or not _WELL_FORMED.fullmatch(numeral):
        return None
    values = [_ROMAN[letter] for letter in numeral.casefold()]
    return sum(
        -value if value < following else value for value, following in itertools.pairwise([*values, 0])
    )
