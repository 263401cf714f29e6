"""The type of a table entry, and bytes that many entries use."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.stories.material import prose

STORY = prose(1)
PARAGRAPH = STORY.split("\n\n")[0]


@dataclass(frozen=True)
class Kind:
    """One kind of bad or odd file."""

    what: str
    name: str
    make: Callable[[], bytes]
    stories: int = 0
    """Expected number of stories."""
    reason: str = ""
    """Expected text in a reject; empty if no reject is allowed."""
    holds: str = ""
    """Expected words in its first story."""


def used(what: str, name: str, make: Callable[[], bytes], stories: int = 1, holds: str = "") -> Kind:
    return Kind(what, name, make, stories, "", holds)


def refused(what: str, name: str, make: Callable[[], bytes], reason: str) -> Kind:
    return Kind(what, name, make, 0, reason)


def noise(size: int) -> bytes:
    return random.Random(3).randbytes(size)  # noqa: S311


def utf8(text: str) -> Callable[[], bytes]:
    return lambda: text.encode("utf-8", "surrogatepass")


def encoded(encoding: str, text: str, times: int = 8) -> Callable[[], bytes]:
    return lambda: (text * times).encode(encoding, "surrogatepass")


def always(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def as_json(value: object) -> Callable[[], bytes]:
    return lambda: json.dumps(value).encode()
