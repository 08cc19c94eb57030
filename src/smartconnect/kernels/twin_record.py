"""How the Python twin reads one record of a v2 batch (KIP-98, KIP-82). Every length is taken as hostile: nothing is read outside the
given range, and each check stands in the order in which the compiled kernel makes it, so that both name the same reason."""

from __future__ import annotations

from typing import NamedTuple

from smartconnect.kernels import errors


class Cut(Exception):
    """A number does not end inside its range, or has more bits than its type."""


class BadRecord(Exception):
    """A record that breaks the format; `args[0]` is the index of its reason."""


class Record(NamedTuple):
    """Byte ranges of one record in its section; −1 as a start means null. `end` is where the next one begins."""

    delta: int
    key: int
    key_end: int
    value: int
    value_end: int
    end: int


def varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    """A zigzag int32 of at most 5 bytes, and the position behind it."""
    raw = shift = 0
    while True:
        if at >= end:
            raise Cut
        byte = data[at]
        at += 1
        if shift == 28 and byte > 0x0F:
            raise Cut
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7


def varlong(data: memoryview, at: int, end: int) -> int:
    """The position behind a zigzag int64 of at most 10 bytes; its value is of no interest here."""
    for size in range(10):
        if at + size >= end:
            raise Cut
        byte = data[at + size]
        if byte < 0x80:
            if size == 9 and byte > 1:
                raise Cut
            return at + size + 1
    raise Cut


def read_record(data: memoryview, at: int, end: int) -> Record:
    """The record that begins at `at` in a section that ends at `end`. Raises BadRecord."""
    try:
        length, at = varint(data, at, end)
        if length < 0:
            raise BadRecord(errors.NEGATIVE_LENGTH)
        if length > end - at:
            raise BadRecord(errors.LEAVES_SECTION)
        end = at + length
        at = varlong(data, at + 1, end)
        delta, at = varint(data, at, end)
        key, key_end, at = _field(data, at, end)
        value, value_end, at = _field(data, at, end)
        at = _headers(data, at, end)
    except Cut:
        raise BadRecord(errors.CUT_NUMBER) from None
    if at != end:
        raise BadRecord(errors.BYTES_LEFT)
    return Record(delta, key, key_end, value, value_end, end)


def _field(data: memoryview, at: int, end: int) -> tuple[int, int, int]:
    """Start and end of a nullable byte field, and the position behind it; (−1, −1, …) for null."""
    length, at = varint(data, at, end)
    if length == -1:
        return -1, -1, at
    if length < 0:
        raise BadRecord(errors.NEGATIVE_LENGTH)
    if length > end - at:
        raise BadRecord(errors.LEAVES_SECTION)
    return at, at + length, at + length


def _headers(data: memoryview, at: int, end: int) -> int:
    """The position behind a record's headers."""
    count, at = varint(data, at, end)
    if count < 0:
        raise BadRecord(errors.NEGATIVE_LENGTH)
    for _ in range(count):
        key, _end, at = _field(data, at, end)
        if key < 0:
            raise BadRecord(errors.NEGATIVE_LENGTH)
        _value, _end, at = _field(data, at, end)
    return at
