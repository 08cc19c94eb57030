"""Builds v2 record batches (KIP-98): for tests, and for replication where it has to write records anew. Plain Python, one object per
record: not for a hot path.

Everything a broker checks is right in what comes out, unless the caller asks for a hole, a wrong count or a foreign length to test with.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cramjam
import zstandard
from fastcrc import crc32
from isal import isal_zlib

from smartconnect.kernels import lz4
from smartconnect.kernels.batch import CONTROL, CRC_FROM, TRANSACTIONAL, BytesLike, Codec

_BEFORE_CRC: Final = struct.Struct(">qiibI")
_AFTER_CRC: Final = struct.Struct(">hiqqqhii")
_MAGIC: Final = 2
ZSTD_LEVEL: Final = 3
_XERIAL_HEADER: Final = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
_XERIAL_BLOCK: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `offset` is absolute, `timestamp` in ms."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """The header's part of a batch. Defaults: not idempotent, not transactional, ends at its last record. `last_offset` beyond the last
    record is what compaction leaves. `base_offset` None: that of the first record (0 if there is none)."""

    codec: Codec = Codec.NONE
    base_offset: int | None = None
    last_offset: int | None = None
    leader_epoch: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    attributes: int = 0


def batch(records: Sequence[Record], frame: Frame = Frame()) -> bytes:
    """One whole batch. `records` in ascending offset order, possibly with holes, possibly none."""
    base = frame.base_offset if frame.base_offset is not None else records[0].offset if records else 0
    last = frame.last_offset if frame.last_offset is not None else records[-1].offset if records else base
    times = [record.timestamp for record in records] or [-1]
    section = records_section(records, base, times[0])
    body = _AFTER_CRC.pack(
        frame.attributes | frame.codec,
        last - base,
        times[0],
        max(times),
        frame.producer_id,
        frame.producer_epoch,
        frame.base_sequence,
        len(records),
    ) + compress(frame.codec, section)
    head = _BEFORE_CRC.pack(base, CRC_FROM - 12 + len(body), frame.leader_epoch, _MAGIC, crc32.iscsi(body))
    return head + body


def marker(offset: int, producer_id: int, producer_epoch: int = 0, *, commit: bool) -> bytes:
    """The control batch that ends a transaction: key (version 0, type), value (version 0, coordinator epoch 0)."""
    record = Record(offset, struct.pack(">hi", 0, 0), struct.pack(">hh", 0, int(commit)))
    return batch([record], Frame(producer_id=producer_id, producer_epoch=producer_epoch, attributes=TRANSACTIONAL | CONTROL))


def records_section(records: Sequence[Record], base_offset: int, base_timestamp: int) -> bytes:
    """What follows the 61-byte header, uncompressed."""
    out = bytearray()
    for record in records:
        body = bytearray(b"\x00")
        body += zigzag(record.timestamp - base_timestamp)
        body += zigzag(record.offset - base_offset)
        body += _field(record.key)
        body += _field(record.value)
        body += zigzag(len(record.headers))
        for name, value in record.headers:
            body += _field(name)
            body += _field(value)
        out += zigzag(len(body))
        out += body
    return bytes(out)


def compress(codec: Codec, section: BytesLike) -> bytes | bytearray:
    """A section as a producer would store it, at producers' default level (gzip: the fastest that compresses). snappy: xerial."""
    view = memoryview(section)
    if codec is Codec.GZIP:
        return bytes(isal_zlib.compress(view, wbits=31, level=1))
    if codec is Codec.SNAPPY:
        blocks = [cramjam.snappy.compress_raw(view[at : at + _XERIAL_BLOCK]) for at in range(0, len(view), _XERIAL_BLOCK)]
        return _XERIAL_HEADER + b"".join(len(block).to_bytes(4, "big") + bytes(block) for block in blocks)
    if codec is Codec.LZ4:
        return lz4.fold(view)
    if codec is Codec.ZSTD:
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=False).compress(view)
    return bytes(view)


def zigzag(number: int) -> bytes:
    """A signed number of up to 64 bits as Kafka's varint or varlong (protobuf zigzag)."""
    raw = (number << 1) ^ (number >> 63)
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def _field(data: bytes | None) -> bytes:
    return zigzag(-1) if data is None else zigzag(len(data)) + data
