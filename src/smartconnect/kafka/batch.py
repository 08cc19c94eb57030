"""Reading the header of a record batch in plain Python: enough to find where batches begin and end in a fetched blob.

The fast walk that also decides what a reader sees is `kernels.walk`; this module serves the fetcher (which whole batches
came, where does the next fetch begin) and tools. Source: KIP-98 (magic 2); magic 0 and 1 share the first 17 bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from smartconnect.domain.errors import MalformedData
from smartconnect.kernels.batch import HEADER_BYTES, BytesLike

PREFIX: Final = 12
"""baseOffset i64 and batchLength i32: what precedes the bytes that batchLength counts."""

SMALLEST: Final = 14
"""Smallest batchLength of any magic: a magic 0 message without key and value."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">i")
_LAST_OFFSET_DELTA = struct.Struct(">i")
_EPOCH = struct.Struct(">i")
_BASE = struct.Struct(">q")


class BatchHeader(NamedTuple):
    """The 61 bytes of a magic 2 header, in order. `length` counts from the leader epoch on."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return PREFIX + self.length


class Extent(NamedTuple):
    """The whole batches at the start of a blob. `intact` is False where what follows cannot be a batch."""

    end: int
    batches: int
    next_offset: int
    leader_epoch: int
    intact: bool


def parse_header(blob: BytesLike, at: int = 0) -> BatchHeader:
    """The header of the magic 2 batch at `at`; MalformedData where there is none."""
    if len(blob) - at < HEADER_BYTES:
        raise MalformedData(f"a record batch header needs {HEADER_BYTES} bytes, {len(blob) - at} are left")
    header = BatchHeader._make(_HEADER.unpack_from(blob, at))
    if header.magic != 2 or header.length < HEADER_BYTES - PREFIX:
        raise MalformedData(f"no record batch of magic 2: magic {header.magic}, length {header.length}")
    return header


def headers(blob: BytesLike) -> Iterator[tuple[int, BatchHeader]]:
    """(position, header) of each whole magic 2 batch of a blob; a partial last one is left out."""
    at = 0
    while len(blob) - at >= HEADER_BYTES:
        header = parse_header(blob, at)
        if at + header.size > len(blob):
            return
        yield at, header
        at += header.size


def extent(blob: memoryview) -> Extent:
    """How far the whole batches of a blob reach, whatever their magic. `next_offset` is the offset behind the last one,
    −1 without one; `leader_epoch` that of the last batch, −1 for old magics. Costs a fraction of a µs per batch."""
    size, at, last, batches = len(blob), 0, -1, 0
    length_at = _LENGTH.unpack_from
    intact = True
    while size - at >= PREFIX:
        (length,) = length_at(blob, at + 8)
        if length < SMALLEST:
            intact = False
            break
        end = at + PREFIX + length
        if end > size:
            break
        last, at, batches = at, end, batches + 1
    if last < 0:
        return Extent(0, 0, -1, -1, intact)
    return Extent(at, batches, *_behind(blob, last), intact)


def _behind(blob: memoryview, at: int) -> tuple[int, int]:
    (base,) = _BASE.unpack_from(blob, at)
    if blob[at + 16] < 2:
        return base + 1, -1
    if len(blob) - at < HEADER_BYTES:
        return -1, -1
    (delta,) = _LAST_OFFSET_DELTA.unpack_from(blob, at + 23)
    (epoch,) = _EPOCH.unpack_from(blob, at + 12)
    return base + delta + 1, epoch
