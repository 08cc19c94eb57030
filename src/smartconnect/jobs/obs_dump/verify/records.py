"""A record reader in plain Python, independent of the kernels that wrote the objects: batches of a fetch answer → the records that a
read_committed consumer sees. Layout: KIP-98 (v2 batches, control records); aborted transactions as KIP-98 tells consumers to skip them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from fastcrc import crc32

from smartconnect.domain.errors import MalformedData
from smartconnect.kernels import Codec, KernelError, decompress, legacy

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LEGACY_HEAD: Final = struct.Struct(">qiIb")
_BEFORE_LENGTH: Final = 12
_CRC_FROM: Final = 21
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_CODEC: Final = 0x07
_ABORT: Final = 0


class SeenRecord(NamedTuple):
    """What of a record the dump writes."""

    offset: int
    key: bytes | None
    value: bytes | None


def visible_records(view: memoryview, aborted: Sequence[tuple[int, int]]) -> Iterator[SeenRecord]:
    """The records of whole batches, in order. `aborted`: (producer id, first offset) as the fetch answer lists them. MalformedData for
    a wrong checksum or format."""
    pending = sorted(aborted, key=lambda item: item[1])
    open_aborts: set[int] = set()
    at = 0
    while at < len(view):
        offset, length, _, magic = _LEGACY_HEAD.unpack_from(view, at)
        end = at + _BEFORE_LENGTH + length
        if end > len(view):
            raise MalformedData(f"the batch at offset {offset} is cut off")
        if magic < 2:
            yield from _old_records(view[at:end])
        else:
            yield from _batch_records(view[at:end], pending, open_aborts)
        at = end


def _old_records(entry: memoryview) -> Iterator[SeenRecord]:
    try:
        for record in legacy.records(entry):
            yield SeenRecord(record.offset, record.key, record.value)
    except KernelError as error:
        raise MalformedData(str(error)) from error


def _batch_records(batch: memoryview, pending: list[tuple[int, int]], open_aborts: set[int]) -> Iterator[SeenRecord]:
    base, _, _, _, crc, attributes, last_delta, _, _, producer_id, _, _, count = _HEADER.unpack_from(batch, 0)
    if crc32.iscsi(bytes(batch[_CRC_FROM:])) != crc:
        raise MalformedData(f"the batch at offset {base} breaks its checksum")
    while pending and pending[0][1] <= base + last_delta:
        open_aborts.add(pending.pop(0)[0])
    section = batch[_HEADER.size :]
    if attributes & _CONTROL:
        if _control_type(section) == _ABORT:
            open_aborts.discard(producer_id)
        return
    if attributes & _TRANSACTIONAL and producer_id in open_aborts:
        return
    try:
        data = bytes(decompress(Codec(attributes & _CODEC), section))
    except (KernelError, ValueError) as error:
        raise MalformedData(f"the batch at offset {base} cannot be unpacked: {error}") from error
    yield from _unpacked(data, base, count)


def _control_type(section: memoryview) -> int:
    """The type in a control record's key (version, type)."""
    for record in _unpacked(bytes(section), 0, 1):
        if record.key is not None and len(record.key) >= 4:
            return int.from_bytes(record.key[2:4], "big")
    raise MalformedData("a control batch has no type")


def _unpacked(data: bytes, base: int, count: int) -> Iterator[SeenRecord]:
    at = 0
    try:
        for _ in range(count):
            length, at = _number(data, at)
            end = at + length
            _, inside = _number(data, at + 1)
            delta, inside = _number(data, inside)
            key, inside = _bytes(data, inside)
            value, inside = _bytes(data, inside)
            if inside > end or end > len(data):
                raise MalformedData(f"a record of the batch at offset {base} is longer than it says")
            yield SeenRecord(base + delta, key, value)
            at = end
    except IndexError:
        raise MalformedData(f"the batch at offset {base} ends within a record") from None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and the place behind it."""
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _number(data, at)
    return (None, at) if length < 0 else (data[at : at + length], at + length)
