"""The records of one v2 batch one by one, in plain Python: for topics of our own, whose records are few. Not for a hot path.

Source: KIP-98. Every length is checked before it is used; checksums are the caller's to verify before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from smartconnect.kernels import errors
from smartconnect.kernels.batch import Batch, BytesLike, Kind
from smartconnect.kernels.errors import REASONS, MalformedBatch
from smartconnect.kernels.plan import Section
from smartconnect.kernels.twin_record import BadRecord, read_record

COMMIT: Final = 1
_MARKER_KEY: Final = 4


class KeyValue(NamedTuple):
    """`key` and `value` are views of the section, None for null."""

    offset: int
    key: memoryview | None
    value: memoryview | None


def records(section: Section) -> Iterator[KeyValue]:
    """The records of a section, in order. MalformedBatch where the bytes are not what the header promised."""
    view, at, last = memoryview(section.data).cast("B"), 0, section.base_offset - 1
    for _ in range(section.count):
        try:
            found = read_record(view, at, len(view))
        except BadRecord as bad:
            raise MalformedBatch(at, REASONS[bad.args[0]]) from None
        offset = section.base_offset + found.delta
        if not last < offset <= section.last_offset:
            raise MalformedBatch(at, REASONS[errors.OFFSETS_NOT_ASCENDING if offset <= last else errors.OUTSIDE_BATCH])
        key = None if found.key < 0 else view[found.key : found.key_end]
        value = None if found.value < 0 else view[found.value : found.value_end]
        yield KeyValue(offset, key, value)
        at, last = found.end, offset
    if at != len(view):
        raise MalformedBatch(at, REASONS[errors.TOO_MANY_BYTES])


def marker_commits(blob: BytesLike, batch: Batch) -> bool:
    """Does this CONTROL batch commit its producer's transaction? False: it aborts it (or is a marker of another kind)."""
    if batch.kind is not Kind.CONTROL:
        raise ValueError("only a control batch holds a marker")
    section = Section(memoryview(blob)[batch.records_start : batch.end], batch.count, batch.base_offset, batch.last_offset)
    key = next(records(section)).key
    if key is None or len(key) < _MARKER_KEY:
        raise MalformedBatch(batch.start, REASONS[errors.BAD_MARKER])
    return int.from_bytes(key[2:4], "big", signed=True) == COMMIT
