"""Records on disk, and in memory only what it takes to compare, order and split them."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from stories.models import Record
from stories.works import reading_order

if TYPE_CHECKING:
    from rensa import RMinHash

Order = tuple[tuple[tuple[int, str], ...], int, str]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a text is recognised by."""

    digest: bytes
    """sha256 of its words alone."""
    sketch: "RMinHash"
    """MinHash of its five-word shingles."""
    sample: "array[int]"
    """The hashes of one in sixteen of them: always the same ones, so that samples can be compared."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What is kept in memory of one record: not its text."""

    offset: int
    id: str
    name: str
    """Its file, and the file inside that."""
    file: tuple[str, str]
    """Key and version of its file."""
    order: Order
    """Sorts stories as a person would read them, whatever order they came in."""
    title: str
    work: str
    modified_at: str
    language: str
    words: int
    is_chat: bool
    fingerprint: Fingerprint


class RecordStore:
    """A file of records that are read again one at a time, in any order."""

    def __init__(self, path: Path) -> None:
        """Open the store, emptying it."""
        self._file = path.open("wb+")
        self.entries: list[Entry] = []

    def __enter__(self) -> "RecordStore":
        """Return the open store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its file."""
        self._file.close()

    def add(self, record: Record, fingerprint: Fingerprint) -> None:
        """Write a record and remember where it stands."""
        offset = self._file.seek(0, 2)
        self._file.write(record.model_dump_json().encode() + b"\n")
        name = f"{record.source_key} ({record.entry})" if record.entry else record.source_key
        path = f"{record.source_key}/{record.entry}" if record.entry else record.source_key
        self.entries.append(
            Entry(
                offset=offset,
                id=record.id,
                name=name,
                file=(record.source_key, record.source_version),
                order=(reading_order(path), record.position, path),
                title=record.title,
                work=record.work,
                modified_at=record.modified_at,
                language=record.language,
                words=record.words,
                is_chat=record.messages is not None,
                fingerprint=fingerprint,
            )
        )

    def read(self, entry: Entry) -> Record:
        """Read one record back."""
        self._file.seek(entry.offset)
        return Record.model_validate_json(self._file.readline())
