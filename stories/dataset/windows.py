"""Cut a story into windows that fit the model's context, at the ends of paragraphs and sentences."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stories.language import estimate_tokens

_OPENING = "\"'\u201c\u2018\u00ab(\\[\u2014\u2013"
_CLOSING = "\"'\u201d\u2019\u00bb)\\]"
# A sentence begins with a capital, a digit or an opening quote, after a full stop, closing quotes and a
# space. Chinese and Japanese use full-width stops without a space.
_SENTENCE_END = re.compile(
    rf"(?<![.!?\u2026])[.!?\u2026]+[{_CLOSING}]*\s+(?=[{_OPENING}]*[^\W_a-z])"
    "|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*"
)
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Rev|Capt|Col|Gen|Lt|Sgt|Messrs|Jr|Sr|[A-Z])\.\s+")
_PARAGRAPH_END = re.compile(r"\n{2,}")
_FULL_ENOUGH = 0.7
# Twice what the estimate allows, so that the sentences that fit are always inside this much text.
_MAX_CHARACTERS_A_TOKEN = 8
_SHORTEST_END = 500  # characters
# The end of a paragraph may be four times as far from the even share as the end of a sentence.
_PARAGRAPH_ADVANTAGE = 0.25


@dataclass(frozen=True)
class _Unit:
    """A sentence with its trailing white space."""

    text: str
    tokens: int
    ends_paragraph: bool


def cut_windows(text: str, max_tokens: int, language: str) -> list[str]:
    """Cut a text into windows of about equal length, which joined give the text again.

    Args:
        text: cleaned text.
        max_tokens: maximum of a window's estimated tokens.
        language: ISO 639-1 code, for the estimate.
    """
    units = list(_units(text, max_tokens, language))
    left = sum(unit.tokens for unit in units)
    windows: list[str] = []
    start = 0
    while start < len(units):
        end = _window_end(units, start, left, max_tokens)
        windows.append("".join(unit.text for unit in units[start:end]))
        left -= sum(unit.tokens for unit in units[start:end])
        start = end
    return windows


def last_sentences(text: str, max_tokens: int, language: str) -> str:
    """Return as many last sentences of a text as fit, or the end of its last sentence."""
    kept = ""
    near_the_end = text[-max(_SHORTEST_END, max_tokens * _MAX_CHARACTERS_A_TOKEN) :]
    for unit in reversed(list(_units(near_the_end, max_tokens, language))):
        if kept and estimate_tokens(unit.text + kept, language) > max_tokens:
            break
        kept = unit.text + kept
    return kept.strip()


def _window_end(units: Sequence[_Unit], start: int, left: int, max_tokens: int) -> int:
    """Return the end of the window that begins with a unit, given the number of tokens left.

    The remaining tokens are divided evenly, so that the last window is not much shorter. Near that share, a
    window prefers to end with a paragraph.
    """
    share = left / max(1, -(-left // max_tokens))
    size = 0
    best, best_distance = start + 1, float("inf")
    for number in range(start, len(units)):
        size += units[number].tokens
        if number > start and size > max_tokens:
            break
        at_paragraph = units[number].ends_paragraph and size >= share * _FULL_ENOUGH
        distance = abs(size - share) * (_PARAGRAPH_ADVANTAGE if at_paragraph else 1)
        if distance < best_distance:
            best, best_distance = number + 1, distance
    return best


def _units(text: str, max_tokens: int, language: str) -> Iterator[_Unit]:
    start = 0
    for end, ends_paragraph in sentence_boundaries(text):
        sentence = text[start:end]
        tokens = estimate_tokens(sentence, language)
        if tokens <= max_tokens:
            yield _Unit(sentence, tokens, ends_paragraph)
        else:
            yield from _pieces(sentence, tokens, max_tokens, language)
        start = end


def sentence_boundaries(text: str) -> Iterator[tuple[int, bool]]:
    """Yield the ends of sentences and paragraphs, and whether a paragraph ends there."""
    abbreviations = {found.end() for found in _ABBREVIATION.finditer(text)}
    ends = {found.end(): False for found in _SENTENCE_END.finditer(text) if found.end() not in abbreviations}
    ends |= {found.end(): True for found in _PARAGRAPH_END.finditer(text)}
    if text:
        ends[len(text)] = True
    yield from sorted(ends.items())


def _pieces(sentence: str, tokens: int, max_tokens: int, language: str) -> Iterator[_Unit]:
    """Cut a sentence longer than a window between words, or between characters if it has no spaces."""
    length = max(1, len(sentence) * max_tokens // (2 * tokens))
    start = 0
    while start < len(sentence):
        end = min(start + length, len(sentence))
        space = max(sentence.rfind(mark, start, end) for mark in " \n")
        if end < len(sentence) and space > start:
            end = space + 1
        piece = sentence[start:end]
        yield _Unit(piece, estimate_tokens(piece, language), end == len(sentence))
        start = end
