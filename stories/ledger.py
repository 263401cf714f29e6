"""What the split remembers from one run to the next, so that no story ever moves from test to train.

It holds hashes only, no name and no text. A story that is deleted and comes back is on the side where it was.
Only when others are held out in the place of all that was is deleted training text forgotten (`released`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from stories.models import Part
from stories.store import Entry

Side = Part | Literal["gap", "cut"]
"""A part; or `gap`, used for nothing because it stands between two parts of one work; or `cut`, where the
passages of a text are on different sides."""

HELD_OUT: tuple[Part, Part] = ("test", "validation")
_STRICTEST_FIRST: tuple[Side, ...] = ("test", "validation", "cut", "gap", "train")


class Ledger(BaseModel):
    """Which side every story was ever on."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    stories: dict[str, Side] = {}
    """By the hash of their words: the same text is on the same side wherever it is filed."""
    works: dict[str, Side] = {}
    """By the hash of the work's key: a new chapter follows its work."""
    places: dict[str, Side] = {}
    """By the hash of file and position there: a story that was revised stays where it was."""
    passages: dict[str, Part] = {}
    """Passages that are held out of works too large to be held out whole, by the hash of their words."""

    def to_json(self) -> str:
        """Return the ledger as JSON: one line a story, the same bytes for the same content."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=0) + "\n"

    def side_of(self, entry: Entry) -> Side | None:
        """Return where this text was, or else what stood at its place; None where neither is known."""
        return self.stories.get(_text_key(entry)) or self.places.get(place_key(entry))

    def side_of_work(self, work: str) -> Side | None:
        """Return where a work's stories go; None where they are on several sides, or new."""
        return self.works.get(hashed(work))

    def knows(self, part: Part) -> bool:
        """Tell whether anything was ever in a part."""
        return part in self.stories.values() or part in self.passages.values()

    def remember(self, entry: Entry, side: Side) -> None:
        """Write down where a story is."""
        self.stories[_text_key(entry)] = side
        self.places[place_key(entry)] = side

    def remember_work(self, work: str, sides: Mapping[Entry, Side]) -> None:
        """Write down where the stories of a work are."""
        for entry, side in sides.items():
            self.remember(entry, side)
        if len(set(sides.values())) == 1:
            self.works[hashed(work)] = next(iter(sides.values()))
        else:
            self.works.pop(hashed(work), None)

    def released(self, entries: Iterable[Entry], present: Iterable[Entry]) -> "Ledger":
        """Return what it remembers when these entries may be held out, though they were trained on.

        What was trained on and is not present is forgotten with them: it may be an older draft of one of
        these, and must not be trained on again when it comes back.
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


def place_key(entry: Entry) -> str:
    """Return the hash of where a story stands: its file and its position there."""
    return hashed(f"{entry.path}#{entry.position}")


def _text_key(entry: Entry) -> str:
    return entry.digest.hex()[:16]


def strictest(sides: Iterable[Side | None]) -> Side | None:
    """Return the side that holds for all of these: what was held out must never be trained on."""
    return min(filter(None, sides), key=_STRICTEST_FIRST.index, default=None)
