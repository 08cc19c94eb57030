"""The objects of a task, sorted by what they cover. A bucket may hold millions of them, and listings are sorted by time, not by offset: so
they are kept in a private SQLite file that is gone when the catalog is closed, and memory stays bounded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from smartconnect.kafka.types import TopicPartition

_CACHE_KIB = 8 << 10


class Stored(NamedTuple):
    """One object of the task. `end`, `records` None: its metadata does not tell (it had several parts)."""

    tp: TopicPartition
    run: int
    start: int
    end: int | None
    records: int | None
    key: str
    size: int


class Catalog:
    """A context manager."""

    def __enter__(self) -> Self:
        self._file = sqlite3.connect("")
        self._file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._file.execute(
            "CREATE TABLE objects (topic TEXT, number INT, run INT, start INT, stop INT, records INT, key TEXT PRIMARY KEY, size INT)"
        )
        self._file.execute("CREATE INDEX covered ON objects (topic, number, run, start, stop)")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, stored: Stored) -> None:
        """Adding a key again changes nothing."""
        row = (*stored.tp, stored.run, stored.start, stored.end, stored.records, stored.key, stored.size)
        self._file.execute("INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def has(self, key: str) -> bool:
        return self._file.execute("SELECT 1 FROM objects WHERE key = ?", (key,)).fetchone() is not None

    def series(self) -> list[tuple[TopicPartition, int]]:
        """Every (partition, run) that has objects."""
        rows = self._file.execute("SELECT DISTINCT topic, number, run FROM objects ORDER BY topic, number, run")
        return [(TopicPartition(topic, number), run) for topic, number, run in rows]

    def of(self, tp: TopicPartition, run: int) -> Iterator[Stored]:
        """The objects of one partition and run, in order of their start."""
        columns = "start, stop, records, key, size"
        rows = self._file.execute(
            f"SELECT {columns} FROM objects WHERE topic = ? AND number = ? AND run = ? ORDER BY start, stop, key",  # noqa: S608 no input
            (*tp, run),
        )
        return (Stored(tp, run, *row) for row in rows)
