"""Store records and fingerprints on disk; memory holds only what sorting and splitting need."""

import sqlite3
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stories.fingerprint import Fingerprint
from stories.models import Record
from stories.postings import ArrayTable, open_scratch_database
from stories.works import reading_order

Order = tuple[tuple[tuple[int, str], ...], int, str]


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
