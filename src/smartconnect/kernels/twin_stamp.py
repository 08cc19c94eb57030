"""The Python twin of the compiled `stamp` and `check`: headers of v2 batches patched in place, checksums verified.

The checksum is never computed anew from a body: CRC32C is linear, so the stored one changes by what the patched header bytes change in it.
A body that was damaged before stays visibly damaged after. Layout: KIP-98; what each field becomes: kafka-replication.md §3."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from fastcrc import crc32

from smartconnect.kernels.batch import CODEC_MASK, CRC_FROM, HEADER_BYTES, TRANSACTIONAL, Batch, BytesLike
from smartconnect.kernels.crc import verify_crc
from smartconnect.kernels.forward import Stamp

_EPOCH: Final = struct.Struct(">i")
_CRC: Final = struct.Struct(">I")
_PRODUCER: Final = struct.Struct(">qhi")
_SMALLEST_LEGACY: Final = 26
_MAGIC_AT, _CRC_AT, _ATTRIBUTES_AT, _PRODUCER_AT = 16, 17, 21, 43


def stamp(buffer: bytearray | memoryview, batches: Sequence[tuple[int, int, int]], stamp: Stamp) -> None:
    """Make fetched batches producible, in place: (start, end, base sequence) each.

    Base offset 0, leader epoch −1, attributes reduced to the codec and our own transactional bit, our producer; times, counts and
    lastOffsetDelta stay. The checksum follows by its change alone, in constant time. Before anything is written: ValueError where a range
    is not one v2 batch, OverflowError where a number does not fit its field, BufferError where the buffer cannot be written to."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        raise BufferError("the batches to stamp cannot be written to")
    for start, end, sequence in batches:
        _check_range(view, start, end)
        try:
            _PRODUCER.pack(stamp.producer_id, stamp.producer_epoch, sequence)
        except struct.error as error:
            raise OverflowError(str(error)) from None
    for start, end, sequence in batches:
        _stamp_one(view[start:end], sequence, stamp)


def _stamp_one(batch: memoryview, sequence: int, stamp: Stamp) -> None:
    before = crc32.iscsi(batch[CRC_FROM:])
    batch[:8] = bytes(8)
    _EPOCH.pack_into(batch, 12, -1)
    codec = batch[_ATTRIBUTES_AT + 1] & CODEC_MASK
    batch[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 2] = bytes([0, codec | (TRANSACTIONAL if stamp.transactional else 0)])
    _PRODUCER.pack_into(batch, _PRODUCER_AT, stamp.producer_id, stamp.producer_epoch, sequence)
    (stored,) = _CRC.unpack_from(batch, _CRC_AT)
    _CRC.pack_into(batch, _CRC_AT, stored ^ before ^ crc32.iscsi(batch[CRC_FROM:]))


def check(buffer: BytesLike, batches: Sequence[Batch]) -> int:
    """The index of the first row whose stored checksum is not that of its bytes, −1 if all are right. Raises ValueError where a row does
    not lie in the buffer."""
    view = memoryview(buffer).cast("B")
    for batch in batches:
        if not 0 <= batch.start <= batch.end - _SMALLEST_LEGACY or batch.end > len(view):
            raise ValueError("a row does not belong to this buffer")
    return next((index for index, batch in enumerate(batches) if not verify_crc(view, batch)), -1)


def _check_range(view: memoryview, start: int, end: int) -> None:
    """ValueError unless `start:end` is exactly one v2 batch by its magic and length."""
    whole = 0 <= start <= end - HEADER_BYTES and end <= len(view)
    if not whole or view[start + _MAGIC_AT] != 2 or _EPOCH.unpack_from(view, start + 8)[0] != end - start - 12:
        raise ValueError(f"bytes {start} to {end} are not one v2 record batch")
