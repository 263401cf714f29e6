"""Records and their fingerprints on disk, and in memory only what it takes to order and split them."""

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
from stories.postings import Arrays, open_scratch
from stories.works import reading_order

Order = tuple[tuple[tuple[int, str], ...], int, str]


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """What is kept in memory of one record: not its text."""

    number: int
    """Counts the records, from 0."""
    offset: int
    id: str
    file: tuple[str, str]
    """Key and version of its file."""
    inside: str | None
    """The file inside that, where it is an archive."""
    position: int
    """Of the story in its file."""
    title: str
    work: str
    modified_at: str
    language: str
    words: int
    is_chat: bool
    digest: bytes
    """sha256 of its words alone."""

    @property
    def name(self) -> str:
        """Its file, and the file inside that."""
        return f"{self.file[0]} ({self.inside})" if self.inside else self.file[0]

    @property
    def path(self) -> str:
        """Its file as if an archive were a folder."""
        return f"{self.file[0]}/{self.inside}" if self.inside else self.file[0]

    @property
    def order(self) -> Order:
        """Sorts stories as a person would read them, whatever order they came in."""
        return reading_order(self.path), self.position, self.path


class RecordStore:
    """A file of records that are read again one at a time, in any order."""

    def __init__(self, file: BinaryIO, database: sqlite3.Connection) -> None:
        """Begin with no record."""
        self.entries: list[Entry] = []
        self.database = database
        """For what others have to remember for the time that the store is open."""
        self._file = file
        self._sketches = Arrays(database, "sketches")
        self._samples = Arrays(database, "samples")

    def add(self, record: Record, fingerprint: Fingerprint) -> None:
        """Write a record and remember where it stands."""
        number = len(self.entries)
        self._sketches[number] = fingerprint.sketch
        self._samples[number] = fingerprint.sample
        offset = self._file.seek(0, 2)
        self._file.write(record.model_dump_json().encode() + b"\n")
        self.entries.append(
            Entry(
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

    def read(self, entry: Entry) -> Record:
        """Read one record back."""
        self._file.seek(entry.offset)
        return Record.model_validate_json(self._file.readline())

    def sketch(self, entry: Entry) -> "array[int]":
        """Read a record's `Fingerprint.sketch` back."""
        return self._sketches[entry.number]

    def sample(self, entry: Entry) -> "array[int]":
        """Read a record's `Fingerprint.sample` back."""
        return self._samples[entry.number]


@contextmanager
def record_store(folder: Path) -> Iterator[RecordStore]:
    """Open an empty store, whose files in this folder are gone afterwards."""
    records, scratch = folder / "records.jsonl", folder / "scratch.sqlite"
    database = open_scratch(scratch)
    try:
        with records.open("wb+") as file:
            yield RecordStore(file, database)
    finally:
        database.close()
        records.unlink(missing_ok=True)
        scratch.unlink(missing_ok=True)
