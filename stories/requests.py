"""Asks for stories as a person would who has not read them: by title, by who is in them, by how they begin.

No model is paid to write the requests. All that they name is taken from the text itself.
"""

import re
from functools import cached_property

from stories.language import estimate_tokens
from stories.models import Record
from stories.names import find_names
from stories.windows import tail
from stories.wordings import wordings
from stories.works import is_chapter_title, work_title

# A quarter of the stories is asked for by the opening, a quarter by the title, half by what they are about;
# where a story does not tell that, the title serves.
_KINDS = ("opening", "about", "title", "about")
_TAIL_TOKENS = 48
_OPENING_TOKENS = 120
_MOST_NAMES = 2
# “The Tin Rooster” can stand in a sentence as it is, “Page Forty” cannot.
_TOPIC_WORDS = frozenset({"the", "a", "an", "how", "what", "why"})
_SMALL = re.compile(r"[A-Z][a-z\u2019'-]*$")


class PromptBuilder:
    """Makes the requests of one story; a lot chooses among them, so the same story is always asked alike."""

    def __init__(self, record: Record, title: str) -> None:
        self._record = record
        self._title = title
        self._wordings = wordings(record.language)

    def begin(self, window: str, lot: int) -> tuple[str, str]:
        """Return a request that the first window of the story answers, and the answer."""
        kind, lot = _KINDS[lot % len(_KINDS)], lot // len(_KINDS)
        opening, _, rest = window.partition("\n\n")
        fits = estimate_tokens(opening, self._record.language) <= _OPENING_TOKENS
        if kind == "opening" and rest.strip() and fits:
            return _pick(self._wordings.opening, lot).format(text=opening.strip()), rest.strip()
        request = self._about(window, lot) if kind == "about" else None
        return request or self._by_title(lot), window.strip()

    def go_on(self, before: str, window: str, lot: int) -> tuple[str, str]:
        """Return a request with the sentences before a window, which the window answers, and the answer."""
        said = tail(before, _TAIL_TOKENS, self._record.language)
        return _pick(self._wordings.following, lot).format(title=self._title, text=said), window.strip()

    def _by_title(self, lot: int) -> str:
        chapter = is_chapter_title(self._record.title)
        requests = self._wordings.chapter if chapter else self._wordings.title
        return _pick(requests, lot).format(title=self._title)

    def _about(self, window: str, lot: int) -> str | None:
        """Return a request that names who and what the window tells of; None where nothing is sure."""
        names = find_names(self._record.text, self._record.language)
        people = [name for name in names.people if name in window][:_MOST_NAMES]
        place = next((name for name in names.places if name in window), None)
        who = self._wordings.conjunction.join(people if lot % 2 else people[:1])
        requests = list(self._wordings.topic) if self._topic else []
        if who and place:
            requests += self._wordings.who_where
        if who:
            requests += self._wordings.who
        if place:
            requests += self._wordings.where
        if not requests:
            return None
        return _pick(requests, lot // 2).format(who=who, where=place, topic=self._topic)

    @cached_property
    def _topic(self) -> str | None:
        """The title as it stands in mid-sentence, or None where it cannot."""
        first, *others = self._record.title.split()
        if self._record.language != "en" or first.casefold() not in _TOPIC_WORDS or not others:
            return None
        return " ".join([first.casefold(), *(self._in_sentence(word) for word in others)])

    def _in_sentence(self, word: str) -> str:
        """Take the capital off a title's word, unless the story has it in mid-sentence too."""
        is_name = re.search(rf"[a-z,] {re.escape(word)}\b", self._record.text)
        return word if is_name or not _SMALL.match(word) else word.casefold()


def full_title(record: Record) -> str:
    """Return the title, with the work's beside it where it only counts: `Emma, Chapter 3`."""
    work = work_title(record.work)
    return f"{work}, {record.title}" if work and is_chapter_title(record.title) else record.title


def _pick(requests: tuple[str, ...] | list[str], lot: int) -> str:
    return requests[lot % len(requests)]
