"""The types that all packages of the library share.

A reader yields a `RawStory` for each story of a file and an `UnusablePart` for what it cannot use. They
become a `Record` for each story, read and cleaned, and a `Reject` for each file or part that cannot be used.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

TOO_MUCH_MEMORY = (
    "Reading it takes more memory than a file may take.",
    "Save it as plain text (.txt, UTF-8), or split it into several files.",
)


class FrozenModel(BaseModel):
    """A model whose fields cannot change, and that accepts no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(FrozenModel):
    """One version of one uploaded file."""

    key: str
    """Its path, with `/` between folders."""
    version: str = ""
    modified_at: str = ""
    """Time of that version, as UTC ISO text; of two duplicates the newer one is kept."""


class ChatTurn(FrozenModel):
    """One turn of a chat."""

    role: Literal["user", "assistant"]
    content: str


ChangeKind = Literal[
    "mojibake",
    "invisible characters",
    "wrapped lines",
    "hyphenation",
    "page numbers",
    "running heads",
    "contents",
    "licence",
    "white space",
    "title",
]


class Edit(NamedTuple):
    """The result of one cleaning step."""

    text: str
    places: int = 0
    """How many places it changed; 0 if the text is unchanged."""
    before: str = ""
    """The first place before the change."""
    after: str = ""


class Change(FrozenModel):
    """One kind of change that cleaning made to a story."""

    kind: ChangeKind
    places: int
    """Number of places that changed."""
    removed: int
    """Characters removed; negative if some were added."""
    before: str
    """The first place before the change, at most 200 characters."""
    after: str


class Record(FrozenModel):
    """One story, read and cleaned."""

    kind: Literal["record"] = "record"
    id: str
    """First 16 hex digits of sha256 over the NFC text."""
    title: str
    title_read: bool = True
    """Whether the title was in the file; otherwise it is made from the file's name."""
    text: str
    source_key: str
    source_version: str
    entry: str | None = None
    """File inside the zip."""
    modified_at: str
    position: int = 0
    """Index among the stories of the same file, from 0."""
    work: str
    """Key that the chapters of one book share."""
    language: str
    """ISO 639-1 code, or `und` if the text is too short to identify."""
    words: int
    messages: tuple[ChatTurn, ...] | None = None
    """The chat, if the file contained one; `text` then holds the assistant's messages."""
    characters_read: int = 0
    """Characters before cleaning. Minus what `changes` removed, this is `characters_kept`."""
    changes: tuple[Change, ...] = ()

    @property
    def characters_kept(self) -> int:
        """Length of the text, and of the title if it was in the file."""
        return len(self.text) + (len(self.title) if self.title_read else 0)


class Reject(FrozenModel):
    """A file, or a part of one, that cannot be used, and what to do about it."""

    kind: Literal["reject"] = "reject"
    source_key: str
    source_version: str
    entry: str | None = None
    """File inside the zip, or `line 7` of a .jsonl; None for the whole file."""
    reason: str
    cure: str
    characters: int = 0
    """Characters that were read and are not used; 0 if none could be read."""


@dataclass(frozen=True)
class RawStory:
    """A story as a reader found it, before cleaning."""

    text: str
    title: str | None = None
    """None if the title must come from the text or the file's name."""
    entry: str | None = None
    """Path inside an archive."""
    messages: tuple[ChatTurn, ...] | None = None
    one_of_many: bool = False
    """Whether it is one of several stories in a table, so that the file's name does not name its work."""
    is_chapter: bool = False
    """Whether it is a chapter. All chapters of a file are one work, and none is divided further."""


@dataclass(frozen=True)
class UnusablePart:
    """A part of a file that cannot be used."""

    reason: str
    cure: str
    entry: str | None = None
    characters: int = 0
    """Characters that were read and are not used; 0 if none could be read."""


class UnreadableError(Exception):
    """A file, or a part of one, cannot be used. Readers raise it; people see it as a reject."""

    def __init__(self, reason: str, cure: str) -> None:
        """Create the error with its reason and with what the person who uploaded the file can do about it."""
        super().__init__(f"{reason} {cure}")
        self.reason = reason
        self.cure = cure


def unexpected_error(error: Exception) -> UnreadableError:
    """Return the error to show if a parser fails on a file unexpectedly."""
    if isinstance(error, MemoryError):
        return UnreadableError(*TOO_MUCH_MEMORY)
    return UnreadableError(
        f"It could not be read ({type(error).__name__}).",
        "Save it as plain text (.txt, UTF-8) and drop it again.",
    )
