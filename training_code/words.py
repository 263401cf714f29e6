"""Words and sentences as the measures of writing count them."""

import re

_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019\u00bb)\]]*(?:\s+|$)|\n\s*\n")


def words(text: str) -> list[str]:
    """The text's words in lower case; an apostrophe inside a word belongs to it."""
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def sentence_lengths(text: str) -> list[int]:
    """The number of words in each sentence."""
    return [length for sentence in _SENTENCE_END.split(text) if (length := len(words(sentence)))]
