"""Build the prompts of training examples: requests as a person would write them who has not read the story.

They ask by title, by people and places, or by the opening. No model is paid to write them; everything they name is
taken from the text.
"""

import re
from functools import cached_property

from stories.language import estimate_tokens
from stories.models import Record
from stories.names import find_names
from stories.windows import last_sentences
from stories.wordings import templates_for
from stories.works import is_chapter_title, work_title

# A quarter of the prompts give the opening, a quarter the title, half what the story is about; if that is not
# known, the title is used.
_KINDS = ("opening", "about", "title", "about")
_TAIL_TOKENS = 48
_OPENING_TOKENS = 120
_MAX_NAMES = 2
# “The Tin Rooster” can be used in a sentence as it is, “Page Forty” cannot.
_TOPIC_WORDS = frozenset({"the", "a", "an", "how", "what", "why"})
_SMALL = re.compile(r"[A-Z][a-z\u2019'-]*$")


class PromptBuilder:
    """Builds the prompts of one story. A seed chooses among the templates, so a story always gets the same prompts."""

    def __init__(self, record: Record, title: str) -> None:
        self._record = record
        self._title = title
        self._templates = templates_for(record.language)

    def first(self, window: str, seed: int) -> tuple[str, str]:
        """Return the prompt of the story's first window, and the answer."""
        kind, seed = _KINDS[seed % len(_KINDS)], seed // len(_KINDS)
        opening, _, rest = window.partition("\n\n")
        fits = estimate_tokens(opening, self._record.language) <= _OPENING_TOKENS
        if kind == "opening" and rest.strip() and fits:
            return _pick(self._templates.opening, seed).format(text=opening.strip()), rest.strip()
        request = self._about(window, seed) if kind == "about" else None
        return request or self._by_title(seed), window.strip()

    def continuation(self, before: str, window: str, seed: int) -> tuple[str, str]:
        """Return the prompt of a later window, with the sentences before it, and the answer."""
        said = last_sentences(before, _TAIL_TOKENS, self._record.language)
        return _pick(self._templates.continuation, seed).format(title=self._title, text=said), window.strip()

    def _by_title(self, seed: int) -> str:
        chapter = is_chapter_title(self._record.title)
        requests = self._templates.chapter if chapter else self._templates.title
        return _pick(requests, seed).format(title=self._title)

    def _about(self, window: str, seed: int) -> str | None:
        """Return a prompt that names the people, place or topic of the window; None if none is certain."""
        names = find_names(self._record.text, self._record.language)
        people = [name for name in names.people if name in window][:_MAX_NAMES]
        place = next((name for name in names.places if name in window), None)
        who = self._templates.conjunction.join(people if seed % 2 else people[:1])
        requests = list(self._templates.topic) if self._topic else []
        if who and place:
            requests += self._templates.who_where
        if who:
            requests += self._templates.who
        if place:
            requests += self._templates.where
        if not requests:
            return None
        return _pick(requests, seed // 2).format(who=who, where=place, topic=self._topic)

    @cached_property
    def _topic(self) -> str | None:
        """Title as written in mid-sentence, or None if it cannot be used there."""
        first, *others = self._record.title.split()
        if self._record.language != "en" or first.casefold() not in _TOPIC_WORDS or not others:
            return None
        return " ".join([first.casefold(), *(self._in_sentence(word) for word in others)])

    def _in_sentence(self, word: str) -> str:
        """Lower the first letter of a title's word, unless the story capitalises it in mid-sentence too."""
        is_name = re.search(rf"[a-z,] {re.escape(word)}\b", self._record.text)
        return word if is_name or not _SMALL.match(word) else word.casefold()


def full_title(record: Record) -> str:
    """Return the title, after the work's title if it is only a number: `Emma, Chapter 3`."""
    work = work_title(record.work)
    return f"{work}, {record.title}" if work and is_chapter_title(record.title) else record.title


def _pick(requests: tuple[str, ...] | list[str], seed: int) -> str:
    return requests[seed % len(requests)]
