"""Batches for the rules: right ones, and ones that are wrong in exactly one thing."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from fastcrc import crc32

from smartconnect.kernels import Codec, encode
from smartconnect.kernels.batch import CRC_FROM, HEADER_BYTES, TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record
from tests.support.broker_rules.asking import Owner

NOW_MS = int(time.time() * 1000)
NOBODY = Owner(None, -1, -1)
COMPRESSED = (Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD)
_BATCH_LENGTH_AT = 8


def records(count: int, *, value: bytes = b"value", key: bytes | None = b"key", first: int = 0) -> list[Record]:
    return [Record(first + number, value, key, NOW_MS) for number in range(count)]


def made(
    owner: Owner, sequence: int, count: int = 1, *, codec: Codec = Codec.NONE, value: bytes = b"value", attributes: int = 0
) -> bytes:
    """A batch as the owner's next one; in its transaction if the owner has a transactional id."""
    bits = attributes | (TRANSACTIONAL if owner.name else 0)
    frame = Frame(codec, producer_id=owner.producer_id, producer_epoch=owner.epoch, base_sequence=sequence, attributes=bits)
    return encode.batch(records(count, value=value), frame)


def framed(section: bytes, count: int, *, codec: Codec = Codec.NONE, last_delta: int | None = None) -> bytes:
    """A batch around a section of records, whatever the section holds."""
    return refolded(encode.compress(codec, section), count, codec, count - 1 if last_delta is None else last_delta)


def refolded(body: bytes | bytearray, count: int, codec: Codec, last_delta: int) -> bytes:
    """A batch around bytes that claim to be compressed."""
    empty = encode.batch([], Frame(codec, base_offset=0, last_offset=last_delta))[:HEADER_BYTES]
    batch = bytearray(empty + bytes(body))
    struct.pack_into(">qq", batch, 27, NOW_MS, NOW_MS)
    struct.pack_into(">i", batch, HEADER_BYTES - 4, count)
    return sealed(batch)


def sealed(batch: bytes | bytearray) -> bytes:
    """With the length and checksum that belong to it."""
    out = bytearray(batch)
    struct.pack_into(">i", out, _BATCH_LENGTH_AT, len(out) - 12)
    struct.pack_into(">I", out, CRC_FROM - 4, crc32.iscsi(bytes(out[CRC_FROM:])))
    return bytes(out)


def changed(batch: bytes, kind: str, at: int, value: int) -> bytes:
    """One field of the header changed, the checksum right."""
    out = bytearray(batch)
    struct.pack_into(kind, out, at, value)
    return sealed(out)


def torn(batch: bytes) -> bytes:
    """The batch with a wrong checksum."""
    return bytes([*batch[:-1], batch[-1] ^ 1])


def section(kept: Sequence[Record]) -> bytes:
    return encode.records_section(kept, 0, NOW_MS)


def padded(records: bytes) -> bytes:
    """A section whose first record, of less than 63 bytes, has one more byte than its fields."""
    length = 1 + (records[0] >> 1)
    return bytes([records[0] + 2]) + records[1:length] + b"x" + records[length:]


def compacted(codec: Codec, last_delta: int) -> bytes:
    """Four records of six offsets: 0, 1, 3, 4."""
    kept = [record for record in records(5) if record.offset != 2]
    return framed(section(kept), len(kept), codec=codec, last_delta=last_delta)
