"""An inverted index of stories by number, on disk, because in memory it would grow with the text.

A number stands for a few words or for a part of a sketch. Most numbers belong to one story only. The shared ones
are found by sorting, which SQLite does in a few megabytes of memory for any amount.
"""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_CACHE_KIBIBYTES = 8_000
_LARGEST = 2**63 - 1
# A number shared by more stories, such as one of a common form letter, is no sign that two of them are alike, and
# comparing all of them with each other would take quadratic time.
_MAX_MATCHES = 50


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


class InvertedIndex:
    """Finds stories with numbers in common: add all stories, build once, then activate stories one by one."""

    def __init__(self, database: sqlite3.Connection, name: str, *, exclusive: bool = False) -> None:
        """Create an empty index.

        Args:
            database: stores the index.
            name: prefix of the index's tables, unique in the database.
            exclusive: whether a number matches only the first story activated with it.
        """
        self._database = database
        self._added, self._shared, self._active = (
            f"{name}_{part}" for part in ("added", "shared", "claimed")
        )
        self._database.execute(f"CREATE TABLE {self._added} (number INTEGER, story INTEGER)")
        key = "number" if exclusive else "number, story"
        self._database.execute(
            f"CREATE TABLE {self._active} (number INTEGER, story INTEGER, PRIMARY KEY ({key})) WITHOUT ROWID"
        )

    def add(self, story: int, numbers: Iterable[int]) -> None:
        """Add the numbers of a story, without repeats and below 2^63."""
        self._database.executemany(
            f"INSERT INTO {self._added} VALUES (?, {int(story)})", ((number,) for number in numbers)
        )

    def build(self) -> None:
        """Keep the numbers that at least two stories share. Call it once, after the last `add`."""
        self._database.execute(f"CREATE INDEX {self._added}_numbers ON {self._added} (number, story)")
        self._database.execute(
            f"CREATE TABLE {self._shared} (story INTEGER, number INTEGER, PRIMARY KEY (story, number))"
            " WITHOUT ROWID"
        )
        self._database.execute(
            f"INSERT INTO {self._shared} SELECT story, number FROM {self._added} WHERE number IN"
            f" (SELECT number FROM {self._added} GROUP BY number HAVING count(*) > 1) ORDER BY 1, 2"
        )
        self._database.execute(f"DROP TABLE {self._added}")

    def matches(self, story: int, lowest: int = 0, highest: int = _LARGEST) -> Counter[int]:
        """Count the numbers in a range that a story shares with each active story."""
        found = self._database.execute(
            f"SELECT claimed.story, count(*) FROM {self._shared} AS shared JOIN {self._active} AS claimed"
            " ON claimed.number = shared.number"
            " WHERE shared.story = ? AND shared.number BETWEEN ? AND ? GROUP BY claimed.story",
            (story, lowest, highest),
        )
        return Counter(dict(found))

    def activate(self, story: int) -> None:
        """Let later calls of `matches` find a story; a number finds at most 50 stories."""
        self._database.execute(
            f"INSERT OR IGNORE INTO {self._active} SELECT number, story FROM {self._shared} AS shared"
            f" WHERE story = ? AND (SELECT count(*) FROM {self._active} AS claimed"
            " WHERE claimed.number = shared.number) < ?",
            (story, _MAX_MATCHES),
        )


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
