"""Words broken at the end of a line become whole; words that have a hyphen of their own keep it."""

import re
from collections import Counter

from stories.cleaning.ledger import Edit

SOFT_HYPHEN = "\u00ad"

_BROKEN = re.compile(r"([^\W\d_]+)[-\u2010\u00ac]([ \t]*\n[ \t]*)(?=([^\W\d_]+))")
_HYPHEN_AT_LINE_END = re.compile(r"[-\u2010\u00ac][ \t]*\n")
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)*")
_SHORTEST_WORD_OF_A_COMPOUND = 3
_FEWEST_STRANGE = 3


def mark_broken_words(text: str) -> str:
    """Turn the hyphens that only break a word into soft hyphens, which are dropped when lines are joined."""
    if not _HYPHEN_AT_LINE_END.search(text):
        return text
    words = Counter(word.casefold().replace("\u2010", "-") for word in _WORD.findall(text))
    broken = [(found[1].casefold(), found[3].casefold()) for found in _BROKEN.finditer(text)]
    # Halves of broken words are no words: what is left is what the text writes elsewhere.
    words.subtract(half for pair in broken for half in pair)
    hyphenates = _breaks_words(broken, words)

    def marked(found: re.Match[str]) -> str:
        left, right = found[1], found[3]
        keeps = (
            text[found.start() - 1 : found.start()] in {"-", "\u2010"}
            or (right[0].isupper() and not left.isupper())
            or _is_compound(left.casefold(), right.casefold(), words, hyphenates)
        )
        return found[0] if keeps else f"{left}{SOFT_HYPHEN}{found[2]}"

    return _BROKEN.sub(marked, text)


def drop_soft_hyphens(text: str) -> Edit:
    """Take out hyphens that show only where a line ends, and make the word whole."""
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
    """Tell whether who broke the lines broke words, too, or only compounds at the hyphens that they have."""
    balance = sum(_leaning(*pair, words) for pair in broken)
    if balance:
        return balance > 0
    strange = sum(not _leaning(*pair, words) and not _are_words(*pair, words) for pair in broken)
    return strange >= _FEWEST_STRANGE and strange * 2 > len(broken)


def _are_words(left: str, right: str, words: Counter[str]) -> bool:
    return all(len(half) >= _SHORTEST_WORD_OF_A_COMPOUND and words[half] > 0 for half in (left, right))


def _leaning(left: str, right: str, words: Counter[str]) -> int:
    """Return 1 for a word that stands whole elsewhere, -1 for one that has a hyphen elsewhere, else 0."""
    joined, hyphenated = words[left + right], words[f"{left}-{right}"]
    return (joined > hyphenated) - (joined < hyphenated)


def _is_compound(left: str, right: str, words: Counter[str], hyphenates: bool) -> bool:
    """Decide by how the text writes the word elsewhere, else by whether both halves are words."""
    if leaning := _leaning(left, right, words):
        return leaning < 0
    if _are_words(left, right, words):
        return True
    return not hyphenates
