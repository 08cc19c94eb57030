"""The row that `walk` makes of one record batch, and the two small vocabularies in it. Read by whoever handles a fetch response.

Layout of a batch: KIP-98 (magic 2, 61-byte header, big-endian); of an entry of an old message set: KIP-32 (magic 0 and 1).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

BytesLike: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES: Final = 61
CRC_FROM: Final = 21
LEGACY_CRC_FROM: Final = 16
CODEC_MASK: Final = 0x07
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20


class Kind(IntEnum):
    """What a read_committed reader has to do with a batch: only DATA and LEGACY hold records for it."""

    DATA = 0
    CONTROL = 1
    ABORTED = 2
    EMPTY = 3
    LEGACY = 4


class Codec(IntEnum):
    """Bits 0–2 of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class Batch(NamedTuple):
    """`start`, `end`, `records_start` are byte offsets in the response's records; the section of a v2 batch is `records_start:end`.

    LEGACY: one row for each entry of the message set; `records_start == start`, count −1 where only decompression can tell, and
    `base_offset == last_offset`, which for a compressed wrapper is the offset of its last record (the first may be lower)."""

    kind: Kind
    start: int
    end: int
    base_offset: int
    last_offset: int
    leader_epoch: int
    codec: Codec
    count: int  # type: ignore[assignment]  # hides tuple.count, which makes no sense for a row
    attributes: int
    max_timestamp: int
    producer_id: int
    crc: int
    records_start: int
