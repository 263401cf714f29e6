"""The record of every split, kept from one run to the next so that no story ever moves from test to train.

It holds hashes only, no names and no text. A story that is deleted and comes back returns to its side.
Deleted training text is removed only when other stories replace everything that was held out
(`without_training_text`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stories.dataset.record_store import StoryEntry
from stories.records import Part

Side = Part | Literal["gap", "cut"]
"""A part; or `gap`, unused because it lies between two parts of one work; or `cut`, if the passages of a text
are on different sides."""

HELD_OUT: tuple[Part, Part] = ("test", "validation")
_STRICTEST_FIRST: tuple[Side, ...] = ("test", "validation", "cut", "gap", "train")


class SplitLedger(BaseModel):
    """The side that each story has ever been on."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    stories: dict[str, Side] = {}
    """Sides by the hash of the words: the same text is on the same side in any file."""
    works: dict[str, Side] = {}
    """Sides by the hash of the work's key: a new chapter goes to the side of its work."""
    places: dict[str, Side] = {}
    """Sides by the hash of file and position: a revised story stays on its side."""
    passages: dict[str, Part] = {}
    """Held-out passages of works that are too large to be held out whole, by the hash of their words."""

    def to_json(self) -> str:
        """Return the ledger as JSON, one line for each story: the same bytes for the same content."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=0) + "\n"

    def side_of(self, entry: StoryEntry) -> Side | None:
        """Return the side of this text, or else of the story at its place; None if neither is known."""
        return self.stories.get(_text_key(entry)) or self.places.get(place_key(entry))

    def side_of_work(self, work: str) -> Side | None:
        """Return the side of a work's stories; None if they are on several sides, or new."""
        return self.works.get(hashed(work))

    def has_part(self, part: Part) -> bool:
        """Return whether any story was ever in a part."""
        return part in self.stories.values() or part in self.passages.values()

    def record(self, entry: StoryEntry, side: Side) -> None:
        """Record the side of a story."""
        self.stories[_text_key(entry)] = side
        self.places[place_key(entry)] = side

    def record_work(self, work: str, sides: Mapping[StoryEntry, Side]) -> None:
        """Record the sides of a work's stories."""
        for entry, side in sides.items():
            self.record(entry, side)
        if len(set(sides.values())) == 1:
            self.works[hashed(work)] = next(iter(sides.values()))
        else:
            self.works.pop(hashed(work), None)

    def without_training_text(
        self, entries: Iterable[StoryEntry], present: Iterable[StoryEntry]
    ) -> "SplitLedger":
        """Return a copy in which these entries may be held out although they were trained on.

        Training text that is not present is removed too: it may be an older draft of one of these entries and
        must not be trained on again when it comes back.
        """
        here = list(present)
        free = self.model_copy(
            update={
                "stories": _still_held(self.stories, {_text_key(entry) for entry in here}),
                "works": _still_held(self.works, {hashed(entry.work) for entry in here}),
                "places": _still_held(self.places, {place_key(entry) for entry in here}),
                "passages": dict(self.passages),
            }
        )
        for entry in entries:
            free.stories.pop(_text_key(entry), None)
            free.places.pop(place_key(entry), None)
            free.works.pop(hashed(entry.work), None)
        return free


def _still_held(book: Mapping[str, Side], present: set[str]) -> dict[str, Side]:
    return {key: side for key, side in book.items() if side != "train" or key in present}


def hashed(name: str) -> str:
    """Return the first 16 hex digits of a name's sha256."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def place_key(entry: StoryEntry) -> str:
    """Return the hash of a story's file and of its position in the file."""
    return hashed(f"{entry.path}#{entry.position}")


def _text_key(entry: StoryEntry) -> str:
    return entry.digest.hex()[:16]


def strictest(sides: Iterable[Side | None]) -> Side | None:
    """Return the strictest of some sides, because what was held out must never be trained on."""
    return min(filter(None, sides), key=_STRICTEST_FIRST.index, default=None)
