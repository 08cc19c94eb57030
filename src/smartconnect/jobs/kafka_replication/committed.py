"""What counts in a log that transactional and plain producers write side by side, decided without waiting for anybody
(kafka-replication.md §6.3).

Guarantees: of all batches fed in order (read with isolation 0) those count whose producer has committed them, or that are in no
transaction; what was aborted does not count; what is undecided at the end does not count yet. The last record of each key wins, by
offset. Memory: the wanted keys. Pure; used by `position_store` and `other_direction`, in whatever thread they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from smartconnect.domain.errors import Retryable
from smartconnect.kernels import Batch, KernelError, Kind, Scratch, Section, sections, verify_crc, walk
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.records import marker_commits, records

_SCRATCH_BYTES = 1 << 20
_MOST_BYTES = 64 << 20


class LogDamaged(Retryable):
    """A batch of a topic of ours has a wrong checksum or format."""

    code = "positions_damaged"


class Entry(NamedTuple):
    """`value` None: a tombstone."""

    offset: int
    value: bytes | None


class CommittedLog:
    """`needle`: bytes that every wanted key contains; a batch without them is not looked into. `wants` sees the keys of the others.
    `name` is for errors."""

    def __init__(self, name: str, needle: bytes, wants: Callable[[bytes], bool]) -> None:
        self._name, self._needle, self._wants = name, needle, wants
        self._decided: dict[bytes, Entry] = {}
        self._open: dict[int, dict[bytes, Entry]] = {}
        self._scratch = Scratch(_SCRATCH_BYTES, _MOST_BYTES)

    def feed(self, blob: memoryview, fetch_offset: int, end: int) -> dict[bytes, bytes | None]:
        """Take the batches of one answer that begin below `end`; the entries that this has decided. LogDamaged."""
        news: dict[bytes, Entry] = {}
        try:
            for batch in walk(blob, fetch_offset, ()):
                if batch.base_offset >= end:
                    break
                if not verify_crc(blob, batch):
                    raise LogDamaged(f"{self._name} has a wrong checksum at offset {batch.base_offset}")
                if batch.kind is Kind.CONTROL:
                    ended = self._open.pop(batch.producer_id, {})
                    self._count(ended if marker_commits(blob, batch) else {}, news)
                elif batch.attributes & TRANSACTIONAL:
                    self._open.setdefault(batch.producer_id, {}).update(self._wanted(blob, batch))
                else:
                    self._count(self._wanted(blob, batch), news)
        except KernelError as error:
            raise LogDamaged(f"{self._name} cannot be read behind offset {fetch_offset}: {error}") from error
        return {key: entry.value for key, entry in news.items()}

    def undecided(self, producer_id: int) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
        """What the producer's transaction without an end would set: key, the value that counts now, the new value."""
        for key, entry in self._open.get(producer_id, {}).items():
            known = self._decided.get(key)
            yield key, None if known is None else known.value, entry.value

    def live(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of everything that counts now; no tombstones."""
        for key, entry in self._decided.items():
            if entry.value is not None:
                yield key, entry.value

    def _count(self, entries: dict[bytes, Entry], news: dict[bytes, Entry]) -> None:
        for key, entry in entries.items():
            known = self._decided.get(key)
            if known is None or known.offset < entry.offset:
                self._decided[key] = news[key] = entry

    def _wanted(self, blob: memoryview, batch: Batch) -> dict[bytes, Entry]:
        found: dict[bytes, Entry] = {}
        for group in sections(blob, [batch], self._scratch):
            for section in group:
                found.update(self._in_section(section))
        return found

    def _in_section(self, section: Section) -> Iterator[tuple[bytes, Entry]]:
        if bytes(section.data).find(self._needle) < 0:
            return
        for record in records(section):
            key = b"" if record.key is None else bytes(record.key)
            if self._needle in key and self._wants(key):
                yield key, Entry(record.offset, None if record.value is None else bytes(record.value))
