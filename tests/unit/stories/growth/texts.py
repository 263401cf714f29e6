"""Texts with repeats of what cleaning, chapters, names, windows and passages search for."""

from collections.abc import Callable

from tests.unit.stories.material import prose

Make = Callable[[int], str]
LINE = "The lantern in the harbour went out before the ship had come in, and nobody saw."


def repeated(unit: str) -> Make:
    """Repeat one text."""
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def counted(unit: Callable[[int], str]) -> Make:
    """Join `unit(1)`, `unit(2)` and so on."""

    def make(size: int) -> str:
        parts: list[str] = []
        length = number = 0
        while length < size:
            number += 1
            parts.append(unit(number))
            length += len(parts[-1])
        return "".join(parts)

    return make


def _listed_then_told(size: int) -> str:
    names = [f"The Door {chr(97 + number % 26)}{number}" for number in range(max(1, size // 300))]
    return "".join(f"{name}\n" for name in names) + "".join(f"\n{name}\n\n{LINE * 3}\n" for name in names)


def _letters(number: int) -> str:
    return "".join(chr(97 + number // 26**place % 26) for place in range(3))


TEXTS: dict[str, Make] = {
    "titles of contents": repeated("Contents\n\n"),
    "lines of contents": repeated("Contents\n"),
    "titles with chapters": counted(lambda n: f"Contents\n\nChapter {n % 90}\nChapter {n % 90 + 1}\n\n"),
    "tables": counted(lambda n: f"The Door {n} .... {n % 999}\n"),
    "tables and prose": counted(
        lambda n: "".join(f"The Door {n} of {k} .... {n % 999 + k}\n" for k in range(4)) + f"\n{LINE}\n\n"
    ),
    "titled tables and prose": counted(
        lambda n: f"Contents\n\nThe Door {n} .... {n % 999}\nThe Sea {n} .... {n % 999 + 1}\n\n{LINE}\n\n"
    ),
    "a table and its chapters": _listed_then_told,
    "headings": repeated(f"The Door\n\n{LINE}\n\n"),
    "headings that come again": counted(
        lambda n: f"The Door\n\n{LINE}\n\nThe Door\nThe DeployedResources\nThe Sea\nThe Well\n\n"
    ),
    "numbered headings": counted(lambda n: f"Chapter {n % 90}\n\n{LINE}\n\n"),
    "bare numbers": counted(lambda n: f"{n}\n\n{LINE}\n\n"),
    "numbers alone": counted(lambda n: f"{n % 9999}\n"),
    "page numbers in sentences": counted(lambda n: f"and so it went\n{n % 9999}\nand on\n"),
    "parts": counted(lambda n: f"Part {n % 90}\n\n"),
    "framed numbers": counted(lambda n: f"[Chapter {n % 90}]\n\n"),
    "frames without end": repeated("-" * 98 + "a\n\n"),
    "short lines": repeated("a\n"),
    "short paragraphs": repeated("A\n\n"),
    "wrapped lines": repeated("a lantern that went out and on and on and out again he said\n"),
    "verse": repeated("A lantern that went\n"),
    "indented paragraphs": repeated(f"  {LINE}\n{LINE.lower()}\n"),
    "broken words": counted(lambda n: f"lan{_letters(n)}-\ntern "),
    "soft hyphens": repeated("lan\u00ad\ntern "),
    "pages": repeated("a\f"),
    "pages of a line": repeated("A\n\fb\n\f"),
    "running heads": counted(lambda n: f"The Lantern {n % 9999}\n{LINE}\n\f"),
    "heads that differ": counted(lambda n: f"{_letters(n)} {_letters(n + 9)}\n{LINE}\n\f"),
    "damaged heads": counted(
        lambda n: f"The Lanterm of {_letters(n)}\n{LINE}\n\fThe Lantern of the sea\nb\n\f"
    ),
    "pages that go on": repeated("and then it went on and on and on and on \f"),
    "spaces": repeated(" "),
    "spaces and a bracket": lambda size: "[" + " " * size,
    "lines of spaces": repeated("   \n"),
    "letters": repeated("a"),
    "single letters": repeated("A "),
    "a word of hyphens": repeated("a-"),
    "names of hyphens": repeated("a A-"),
    "full stops": repeated("."),
    "full stops and spaces": repeated(". "),
    "a stop and spaces": lambda size: "." + " " * size,
    "a stop and quotes": lambda size: "." + '"' * size,
    "a stop and brackets": lambda size: ". " + "(" * size,
    "short sentences": repeated("Yes. “No.” "),
    "abbreviations": repeated("Mr. A. "),
    "quotes": repeated("“"),
    "dashes": repeated("—"),
    "asterisks": repeated("*"),
    "scene breaks": repeated("* * *\n\n"),
    "digits": repeated("1"),
    "Chinese": repeated("漢字。"),
    "Chinese without stops": repeated("漢"),
    "emoji": repeated("😀"),
    "mojibake": repeated("â€™s "),
    "lines of mojibake": repeated("itâ€™s\n"),
    "accents": repeated("a\u0301"),
    "marks in disorder": lambda size: "a" + "\u0301\u0327" * (size // 2),
    "marks of two classes": lambda size: "a" + "\u0301" * (size // 2) + "\u0327" * (size // 2),
    "terminal escapes": repeated("\x1b[0;"),
    "beginnings of Gutenberg's mark": repeated("*** START OF THIS PROJECT GUTENBERG "),
    "Gutenberg's marks": repeated(
        "*** START OF THIS PROJECT GUTENBERG x ***\na\n*** END OF THIS PROJECT GUTENBERG x\n"
    ),
    "notices": repeated("All rights reserved\n\n"),
    "words of notices": repeated("licen standard isbn "),
    "beginnings of notices": repeated("copyright produced by names, characters "),
    "bracketed pages": repeated("[pg 12] "),
    "brackets": repeated("["),
    "list items": repeated("- a\n"),
    "flowed lines": repeated("a   \nb"),
    "other line ends": repeated("a\u2028b\r\nc\x85"),
    "names": repeated("and Anna Maria said "),
    "names in a row": repeated("Anna "),
    "bylines": repeated("by A\n\n"),
    "roman numbers": repeated("xxviii\n\n"),
    "numbers of a table": repeated("a . . . . . . . . . . . "),
    "heads with numbers": counted(lambda n: f"{n % 9999} THE LANTERN\nand on it went\n"),
    "tags": repeated("<b>"),
    "ampersands": repeated("&amp;"),
    "prose": lambda size: prose(3, size // 5)[:size],
    "prose on one line": lambda size: prose(3, size // 5)[:size].replace("\n", " "),
    "one sentence": repeated("and then it went on and on "),
    "one paragraph again": lambda size: (prose(4, 60) + "\n\n") * (size // 500 + 1),
}
