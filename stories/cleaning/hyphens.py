"""Join words broken at the end of a line; keep the hyphens of compound words."""

import re
from collections import Counter
from typing import NamedTuple

from stories.cleaning.ledger import Edit

SOFT_HYPHEN = "\u00ad"

# The hyphen comes first in the pattern because it is rare: what precedes it is checked only then.
_BROKEN = re.compile(r"[-\u2010\u00ac](?<=[^\W\d_][-\u2010\u00ac])(?=[ \t]*\n[ \t]*([^\W\d_]+))")
_LAST_WORD = re.compile(r"[^\W\d_]+$")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LONGEST_HALF = 40
_SHORTEST_WORD_OF_A_COMPOUND = 3
_MIN_STRANGE = 3


class _Break(NamedTuple):
    """A hyphen at the end of a line, and the word halves on both sides of it."""

    place: int
    left: str
    right: str
    before: str
    """The character before the left half; a hyphen if the word has several."""


def mark_broken_words(text: str) -> str:
    """Replace hyphens that only break a word by soft hyphens, which are removed when lines are joined."""
    breaks = [_break(text, found) for found in _BROKEN.finditer(text)]
    if not breaks:
        return text
    pairs = [(one.left.casefold(), one.right.casefold()) for one in breaks]
    words = _count(text, pairs)
    hyphenates = _breaks_words(pairs, words)
    parts: list[str] = []
    end = 0
    for one, pair in zip(breaks, pairs, strict=True):
        keeps = (
            one.before in {"-", "\u2010"}
            or (one.right[0].isupper() and not one.left.isupper())
            or _is_compound(*pair, words, hyphenates)
        )
        if not keeps:
            parts.extend((text[end : one.place], SOFT_HYPHEN))
            end = one.place + 1
    return "".join((*parts, text[end:]))


def _break(text: str, found: re.Match[str]) -> _Break:
    start = max(0, found.start() - _LONGEST_HALF)
    last = _LAST_WORD.search(text[start : found.start()])
    left = last[0] if last else ""
    before = found.start() - len(left)
    return _Break(found.start(), left, found[1], text[before - 1 : before])


def _count(text: str, pairs: list[tuple[str, str]]) -> Counter[str]:
    """Count each form that these words may have in the text: joined, hyphenated, or as two words."""
    wanted = {form for left, right in pairs for form in (left + right, f"{left}-{right}", left, right)}
    found = _WORD.findall(text.casefold().replace("\u2010", "-"))
    words = Counter(word for word in found if word in wanted)
    # Halves of broken words are not words. The rest is how the text writes them elsewhere.
    words.subtract(half for pair in pairs for half in pair)
    return words


def drop_soft_hyphens(text: str) -> Edit:
    """Remove soft hyphens, which show only at the end of a line, and join the word."""
    if SOFT_HYPHEN not in text:
        return Edit(text)
    whole, places = re.subn(r"\u00ad(?:[ \t]*\n[ \t]*(?=\w))?", "", text)
    place = text.index(SOFT_HYPHEN)
    start = max(0, place - 60)
    before = text[start : place + 60].replace(SOFT_HYPHEN, "-\n", 1).replace("\n\n", "\n")
    return Edit(
        whole, places, before.replace(SOFT_HYPHEN, "-"), text[start : place + 60].replace(SOFT_HYPHEN, "")
    )


def _breaks_words(broken: list[tuple[str, str]], words: Counter[str]) -> bool:
    """Return whether the lines were broken within words too, and not only at the hyphens of compounds."""
    balance = sum(_leaning(*pair, words) for pair in broken)
    if balance:
        return balance > 0
    strange = sum(not _leaning(*pair, words) and not _are_words(*pair, words) for pair in broken)
    return strange >= _MIN_STRANGE and strange * 2 > len(broken)


def _are_words(left: str, right: str, words: Counter[str]) -> bool:
    return all(len(half) >= _SHORTEST_WORD_OF_A_COMPOUND and words[half] > 0 for half in (left, right))


def _leaning(left: str, right: str, words: Counter[str]) -> int:
    """Return 1 if the text writes the word joined elsewhere, -1 if hyphenated, else 0."""
    joined, hyphenated = words[left + right], words[f"{left}-{right}"]
    return (joined > hyphenated) - (joined < hyphenated)


def _is_compound(left: str, right: str, words: Counter[str], hyphenates: bool) -> bool:
    """Return whether a word is a compound, by how the text writes it elsewhere, else by its halves."""
    if leaning := _leaning(left, right, words):
        return leaning < 0
    if _are_words(left, right, words):
        return True
    return not hyphenates
