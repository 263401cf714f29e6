"""Which stories have a number in common, on disk: in memory it would grow with the text.

Here a number stands for a few words or for a part of a sketch. Most numbers belong to one story only; a table
of those that do not is found by sorting, which SQLite does in a few megabytes however many there are.
"""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_CACHE_KIBIBYTES = 8_000
_LARGEST = 2**63 - 1
# What more stories have in common, such as a form that all were written in, says nothing of any two of them;
# and to compare each with all others would take time by the square of their number.
_MOST_CLAIMANTS = 50


def open_scratch(path: Path) -> sqlite3.Connection:
    """Open a database that is thrown away afterwards: nothing in it survives a crash, or has to."""
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


class Postings:
    """The numbers of stories. First all are added; then stories claim theirs, one after another."""

    def __init__(self, database: sqlite3.Connection, name: str, *, first_keeps: bool = False) -> None:
        """Begin with none.

        Args:
            database: where they are kept.
            name: of these postings, an identifier that no others there have.
            first_keeps: whether a number that is claimed belongs to nobody else from then on.
        """
        self._database = database
        self._added, self._shared, self._claimed = (
            f"{name}_{part}" for part in ("added", "shared", "claimed")
        )
        self._database.execute(f"CREATE TABLE {self._added} (number INTEGER, story INTEGER)")
        key = "number" if first_keeps else "number, story"
        self._database.execute(
            f"CREATE TABLE {self._claimed} (number INTEGER, story INTEGER, PRIMARY KEY ({key})) WITHOUT ROWID"
        )

    def add(self, story: int, numbers: Iterable[int]) -> None:
        """Note the numbers of a story, each once and below 2^63."""
        self._database.executemany(
            f"INSERT INTO {self._added} VALUES (?, {int(story)})", ((number,) for number in numbers)
        )

    def settle(self) -> None:
        """Keep what at least two stories have; to be called once, after the last `add`."""
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

    def claimants(self, story: int, lowest: int = 0, highest: int = _LARGEST) -> Counter[int]:
        """Return how many of a story's numbers others have claimed, by claimant; only those in a range."""
        found = self._database.execute(
            f"SELECT claimed.story, count(*) FROM {self._shared} AS shared JOIN {self._claimed} AS claimed"
            " ON claimed.number = shared.number"
            " WHERE shared.story = ? AND shared.number BETWEEN ? AND ? GROUP BY claimed.story",
            (story, lowest, highest),
        )
        return Counter(dict(found))

    def claim(self, story: int) -> None:
        """Claim a story's numbers, as far as they are free: each may have 50 claimants."""
        self._database.execute(
            f"INSERT OR IGNORE INTO {self._claimed} SELECT number, story FROM {self._shared} AS shared"
            f" WHERE story = ? AND (SELECT count(*) FROM {self._claimed} AS claimed"
            " WHERE claimed.number = shared.number) < ?",
            (story, _MOST_CLAIMANTS),
        )


class Arrays:
    """Arrays of 32-bit numbers, one a story."""

    def __init__(self, database: sqlite3.Connection, name: str) -> None:
        """Begin with none; the name is an identifier that nothing else in the database has."""
        self._database = database
        self._name = name
        database.execute(f"CREATE TABLE {name} (story INTEGER PRIMARY KEY, numbers BLOB)")

    def __setitem__(self, story: int, numbers: "array[int]") -> None:
        """Keep a story's array."""
        self._database.execute(f"INSERT INTO {self._name} VALUES (?, ?)", (story, numbers.tobytes()))

    def __getitem__(self, story: int) -> "array[int]":
        """Return a story's array; KeyError where it has none."""
        row = self._database.execute(f"SELECT numbers FROM {self._name} WHERE story = ?", (story,)).fetchone()
        if row is None:
            raise KeyError(story)
        return array("I", row[0])
