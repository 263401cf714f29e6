"""Parse the numbers of chapters (12, XII, twelve, twelfth, zwölftes, douze, 十二) and of pages (12, xii)."""

import itertools
import re

_ROMAN_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
# Only well-formed Roman numerals: "mix" and "vivid" are words.
_ROMAN = re.compile(r"(?=[ivxlc])c{0,3}(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})", re.I)
_UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINAL_UNITS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_ORDINAL_TENS = "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth"
_OTHER_LANGUAGES = (
    "eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "erste zweite dritte vierte fünfte sechste siebte achte neunte zehnte elfte zwölfte",
    "erstes zweites drittes viertes fünftes sechstes siebtes achtes neuntes zehntes elftes zwölftes",
    "erster zweiter dritter vierter fünfter sechster siebter achter neunter zehnter elfter zwölfter",
    "un deux trois quatre cinq six sept huit neuf dix onze douze",
    "premier deuxième troisième quatrième cinquième sixième septième huitième neuvième dixième onzième "
    "douzième",
    "première seconde",
    "uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
    "primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo undécimo duodécimo",
    "primera segunda tercera cuarta quinta sexta séptima octava novena décima undécima duodécima",
    "uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "primo secondo terzo quarto quinto sesto settimo ottavo nono decimo undicesimo dodicesimo",
    "prima seconda terza quarta quinta sesta settima ottava nona decima",
    "первая вторая третья четвёртая пятая шестая седьмая восьмая девятая десятая",
)
_CHINESE_DIGITS = {character: value for value, character in enumerate("〇一二三四五六七八九")}
_CHINESE_UNITS = {"十": 10, "百": 100}

_WELL_FORMED = re.compile(r"m{0,3}(?:cm|cd|d?c{0,3})(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})", re.I)


def _spelled() -> dict[str, int]:
    words: dict[str, int] = {}
    for language in (_UNITS, _ORDINAL_UNITS, *_OTHER_LANGUAGES):
        for number, word in enumerate(language.split(), start=1):
            words.setdefault(word, number)
    units = [*enumerate(_UNITS.split()[:9], start=1), *enumerate(_ORDINAL_UNITS.split()[:9], start=1)]
    for number, (cardinal, ordinal) in enumerate(
        zip(_TENS.split(), _ORDINAL_TENS.split(), strict=True), start=2
    ):
        words |= {cardinal: number * 10, ordinal: number * 10}
        for unit, word in units:
            words |= {f"{cardinal}{joint}{word}": number * 10 + unit for joint in "- "}
    return words


SPELLED = _spelled()
"""Values of numbers written as words, in lower case."""

_LONGEST_FIRST = "|".join(re.escape(word) for word in sorted(SPELLED, key=len, reverse=True))
NUMBER = rf"(?:\d{{1,4}}|{_LONGEST_FIRST}|{_ROMAN.pattern})"
"""Pattern of any number except Chinese ones; match it ignoring case, and check what follows it."""
BARE_NUMBER = rf"(?:\d{{1,4}}|{'|'.join(reversed(f'{_UNITS} {_TENS}'.split()))}|{_ROMAN.pattern})"
"""Pattern of a number that may stand alone; "once" and "prima" are numbers only beside a word for chapter."""
CHINESE_NUMBER = f"[0-9{''.join(_CHINESE_DIGITS)}{''.join(_CHINESE_UNITS)}]{{1,7}}"


def parse_number(number: str) -> int | None:
    """Return the value of a number in digits, Roman or Chinese numerals or words; None for others."""
    text = number.casefold().strip()
    if text.isdecimal():
        return int(text)
    if text in SPELLED:
        return SPELLED[text]
    if text and _ROMAN.fullmatch(text):
        return _roman(text)
    return _chinese(text)


def _roman(number: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in number]
    return sum(
        -value if value < following else value for value, following in itertools.pairwise([*values, 0])
    )


def _chinese(number: str) -> int | None:
    if not number or not all(letter in _CHINESE_DIGITS or letter in _CHINESE_UNITS for letter in number):
        return None
    total = digit = 0
    for letter in number:
        if letter in _CHINESE_UNITS:
            total += (digit or 1) * _CHINESE_UNITS[letter]
            digit = 0
        else:
            digit = digit * 10 + _CHINESE_DIGITS[letter]
    return total + digit


def parse_page_number(numeral: str) -> int | None:
    """Return the value of an Arabic or Roman numeral: `12` and `xii` are 12; None for `iiii` and others."""
    if numeral.isdecimal():
        return int(numeral)
    if not numeral or not _WELL_FORMED.fullmatch(numeral):
        return None
    return _roman(numeral.casefold())
