"""One object, byte by byte, against what Kafka says must be in it (obs-dump.md §7, what is written)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.jobs.obs_dump.verify.catalog import Stored
from smartconnect.jobs.obs_dump.verify.records import SeenRecord
from smartconnect.jobs.obs_dump.verify.source import PartitionSource
from smartconnect.objectstore import ObjectStore


class Reader:
    """The bytes of an object, as many at a time as are asked for; `at` is how many were read."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks, self._buffer = chunks, b""
        self.at = 0

    async def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the object's end."""
        pieces, have = [self._buffer], len(self._buffer)
        while have < size:
            chunk = await anext(self._chunks, b"")
            if not chunk:
                break
            pieces.append(chunk)
            have += len(chunk)
        data = b"".join(pieces)
        self._buffer = data[size:]
        self.at += min(size, have)
        return data[:size]


def written(records: Iterable[SeenRecord], spec: ObsDumpSpec) -> bytes:
    """What the dump writes for these records: a null key or value is an empty one."""
    pieces: list[bytes] = []
    for record in records:
        if spec.store_keys:
            pieces += (record.key or b"", spec.kv_delimiter)
        pieces += (record.value or b"", spec.record_delimiter)
    return b"".join(pieces)


async def difference(store: ObjectStore, source: PartitionSource, stored: Stored, end: int, spec: ObsDumpSpec) -> str | None:
    """Where the object differs from the source, in words; None if it does not. Raises Expired, Unreadable, errors of the store."""
    reader, records, last = Reader(store.read(stored.key)), 0, stored.start
    async for batch in source.read(stored.start, end):
        expected = written(batch, spec)
        records += len(batch)
        found = await reader.take(len(expected))
        if found != expected:
            same = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(found))
            at = reader.at - len(found) + same
            ends = ", where the object ends" if same == len(found) else ""
            return f"byte {at}{ends} is not what offsets {batch[0].offset} to {batch[-1].offset} have"
        last = batch[-1].offset
    if await reader.take(1):
        return f"there are bytes behind byte {reader.at - 1}, where offset {last} ends"
    if stored.records is not None and stored.records != records:
        return f"its metadata tells {stored.records} records, the source has {records}"
    return None
