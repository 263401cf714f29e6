"""Store records and fingerprints on disk; memory holds only what sorting and splitting need."""

import sqlite3
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stories.dataset.similarity import Fingerprint
from stories.records import Record
from stories.structure.titles import reading_order

Order = tuple[tuple[tuple[int, str], ...], int, str]

_CACHE_KIBIBYTES = 8_000


@dataclass(frozen=True, eq=False, slots=True)
class StoryEntry:
    """The part of a record that is kept in memory, without its text."""

    number: int
    """Index of the record, from 0."""
    offset: int
    id: str
    file: tuple[str, str]
    """Key and version of its file."""
    inside: str | None
    """Path inside the file, if that is an archive."""
    position: int
    """Index of the story in its file."""
    title: str
    work: str
    modified_at: str
    language: str
    words: int
    is_chat: bool
    digest: bytes
    """sha256 of its words, without punctuation."""

    @property
    def name(self) -> str:
        """Name of its file, with the path inside an archive."""
        return f"{self.file[0]} ({self.inside})" if self.inside else self.file[0]

    @property
    def path(self) -> str:
        """Path of its file, as if an archive were a folder."""
        return f"{self.file[0]}/{self.inside}" if self.inside else self.file[0]

    @property
    def order(self) -> Order:
        """Sort key in reading order."""
        return reading_order(self.path), self.position, self.path


class RecordStore:
    """A file of records that can be read again one at a time, in any order."""

    def __init__(self, file: BinaryIO, database: sqlite3.Connection) -> None:
        """Create an empty store."""
        self.entries: list[StoryEntry] = []
        self.database = database
        """Temporary database for other tables, as long as the store is open."""
        self._file = file
        self._sketches = ArrayTable(database, "sketches")
        self._samples = ArrayTable(database, "samples")

    def add(self, record: Record, fingerprint: Fingerprint) -> None:
        """Write a record and remember its offset."""
        number = len(self.entries)
        self._sketches[number] = fingerprint.sketch
        self._samples[number] = fingerprint.sample
        offset = self._file.seek(0, 2)
        self._file.write(record.model_dump_json().encode() + b"\n")
        self.entries.append(
            StoryEntry(
                number=number,
                offset=offset,
                id=record.id,
                file=(record.source_key, record.source_version),
                inside=record.entry,
                position=record.position,
                title=record.title,
                work=record.work,
                modified_at=record.modified_at,
                language=sys.intern(record.language),
                words=record.words,
                is_chat=record.messages is not None,
                digest=fingerprint.digest,
            )
        )

    def read(self, entry: StoryEntry) -> Record:
        """Read a record."""
        self._file.seek(entry.offset)
        return Record.model_validate_json(self._file.readline())

    def sketch(self, entry: StoryEntry) -> "array[int]":
        """Return a record's `Fingerprint.sketch`."""
        return self._sketches[entry.number]

    def sample(self, entry: StoryEntry) -> "array[int]":
        """Return a record's `Fingerprint.sample`."""
        return self._samples[entry.number]


@contextmanager
def open_record_store(folder: Path) -> Iterator[RecordStore]:
    """Open an empty store in a folder, and delete its files afterwards."""
    records, scratch = folder / "records.jsonl", folder / "scratch.sqlite"
    database = open_scratch_database(scratch)
    try:
        with records.open("wb+") as file:
            yield RecordStore(file, database)
    finally:
        database.close()
        records.unlink(missing_ok=True)
        scratch.unlink(missing_ok=True)


def open_scratch_database(path: Path) -> sqlite3.Connection:
    """Open a temporary database, fast because its content need not survive a crash."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in (
        "journal_mode=OFF",
        "synchronous=OFF",
        "locking_mode=EXCLUSIVE",
        "temp_store=FILE",
        f"cache_size=-{_CACHE_KIBIBYTES}",
    ):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("BEGIN")
    return connection


class ArrayTable:
    """A table with one array of 32-bit numbers for each story."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        """Create an empty table; its name must be unique in the database."""
        self._database = database
        self._name = name
        database.execute(f"CREATE TABLE {name} (story INTEGER PRIMARY KEY, numbers BLOB)")

    def __setitem__(self, story: int, numbers: "array[int]") -> None:
        """Store a story's array."""
        self._database.execute(f"INSERT INTO {self._name} VALUES (?, ?)", (story, numbers.tobytes()))

    def __getitem__(self, story: int) -> "array[int]":
        """Return a story's array, or raise KeyError if it has none."""
        row = self._database.execute(f"SELECT numbers FROM {self._name} WHERE story = ?", (story,)).fetchone()
        if row is None:
            raise KeyError(story)
        return array("I", row[0])
