"""The Python twin of the compiled `walk`: headers of one response's records of one partition → one `Batch` for each whole batch, with
the read_committed decision made from headers alone. Used where the extension is missing, and as the reference in the suite."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from smartconnect.kernels import errors
from smartconnect.kernels.batch import (
    CODEC_MASK,
    CONTROL,
    HEADER_BYTES,
    TRANSACTIONAL,
    Batch,
    BytesLike,
    Codec,
    Kind,
)
from smartconnect.kernels.errors import REASONS, MalformedBatch
from smartconnect.kernels.twin_record import Cut, varint, varlong

_V2: Final = struct.Struct(">qiibIhiqqqhii")
_MIN_V2: Final = HEADER_BYTES - 12
_MIN_LEGACY: Final = (14, 22)
_MAX_OFFSET: Final = (1 << 63) - 1
_ABORT: Final = 0


def walk(records: BytesLike, fetch_offset: int, aborted: Sequence[tuple[int, int]]) -> list[Batch]:
    """One row for each whole batch that reaches `fetch_offset` or beyond, in order; a cut last batch is left out.

    `aborted`: (producer id, first offset) as the response lists them, in any order. Filter: kafka-replication.md §4, KIP-98.
    Raises MalformedBatch for lengths, versions, counts or offsets that cannot be, with the position of the batch."""
    view = memoryview(records).cast("B")
    pending = sorted(((first, producer) for producer, first in aborted), reverse=True)
    skipping: set[int] = set()
    rows: list[Batch] = []
    position, last = 0, -1
    while len(view) - position >= 17:
        length = int.from_bytes(view[position + 8 : position + 12], "big", signed=True)
        if length < _MIN_LEGACY[0]:
            raise MalformedBatch(position, REASONS[errors.BAD_LENGTH])
        end = position + 12 + length
        if end > len(view):
            break
        magic = view[position + 16]
        if magic == 2:
            batch = _read_v2(view, position, end)
        elif magic < 2:
            batch = _read_legacy(view, position, end)
        else:
            raise MalformedBatch(position, REASONS[errors.BAD_MAGIC])
        if batch.last_offset <= last or batch.base_offset <= last:
            raise MalformedBatch(position, REASONS[errors.OFFSETS_GO_BACK])
        last = batch.last_offset
        while pending and pending[-1][0] <= last:
            skipping.add(pending.pop()[1])
        kind = _decide(view, batch, skipping)
        if last >= fetch_offset:
            rows.append(batch._replace(kind=kind))
        position = end
    return rows


def _read_v2(view: memoryview, start: int, end: int) -> Batch:
    if end - start < HEADER_BYTES:
        raise MalformedBatch(start, REASONS[errors.BAD_LENGTH])
    (base, _length, leader_epoch, _magic, crc, attributes, last_delta, _base_time, max_time, producer, _pe, _seq, count) = (
        _V2.unpack_from(view, start)
    )
    if base < 0 or last_delta < 0 or base > _MAX_OFFSET - 1 - last_delta:
        raise MalformedBatch(start, REASONS[errors.BAD_OFFSETS])
    if count < 0:
        raise MalformedBatch(start, REASONS[errors.BAD_COUNT])
    codec = attributes & CODEC_MASK
    if codec > Codec.ZSTD:
        raise MalformedBatch(start, REASONS[errors.BAD_CODEC])
    return Batch(
        kind=Kind.DATA,
        start=start,
        end=end,
        base_offset=base,
        last_offset=base + last_delta,
        leader_epoch=leader_epoch,
        codec=Codec(codec),
        count=count,
        attributes=attributes,
        max_timestamp=max_time,
        producer_id=producer,
        crc=crc,
        records_start=start + HEADER_BYTES,
    )


def _read_legacy(view: memoryview, start: int, end: int) -> Batch:
    magic, attributes = view[start + 16], view[start + 17]
    if end - start - 12 < _MIN_LEGACY[magic]:
        raise MalformedBatch(start, REASONS[errors.BAD_LENGTH])
    offset, _length, crc = struct.unpack_from(">qiI", view, start)
    if not 0 <= offset < _MAX_OFFSET:
        raise MalformedBatch(start, REASONS[errors.BAD_OFFSETS])
    codec = attributes & CODEC_MASK
    if codec > Codec.LZ4:
        raise MalformedBatch(start, REASONS[errors.BAD_CODEC])
    return Batch(
        kind=Kind.LEGACY,
        start=start,
        end=end,
        base_offset=offset,
        last_offset=offset,
        leader_epoch=-1,
        codec=Codec(codec),
        count=-1 if codec else 1,
        attributes=attributes,
        max_timestamp=struct.unpack_from(">q", view, start + 18)[0] if magic else -1,
        producer_id=-1,
        crc=crc,
        records_start=start,
    )


def _decide(view: memoryview, batch: Batch, skipping: set[int]) -> Kind:
    """The kind of a batch; an abort marker ends the skipping of its producer."""
    if batch.kind is Kind.LEGACY:
        return Kind.LEGACY
    if batch.count == 0:
        return Kind.EMPTY
    if batch.attributes & CONTROL:
        if _marker(view, batch) == _ABORT:
            skipping.discard(batch.producer_id)
        return Kind.CONTROL
    if batch.attributes & TRANSACTIONAL and batch.producer_id in skipping:
        return Kind.ABORTED
    return Kind.DATA


def _marker(view: memoryview, batch: Batch) -> int:
    """The type in the key (version i16, type i16) of the first record of a control batch."""
    try:
        length, at = varint(view, batch.records_start, batch.end)
        end = at + length
        if length < 1 or end > batch.end:
            raise Cut
        at = varlong(view, at + 1, end)
        _delta, at = varint(view, at, end)
        key, at = varint(view, at, end)
        if key < 4 or key > end - at:
            raise Cut
    except Cut:
        raise MalformedBatch(batch.start, REASONS[errors.BAD_MARKER]) from None
    return int.from_bytes(view[at + 2 : at + 4], "big", signed=True)
