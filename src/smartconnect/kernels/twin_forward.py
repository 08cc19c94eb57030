"""How the Python twins of `rewrite` and `sum_up` read a record: every part of it, and the provenance header in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.kernels import errors
from smartconnect.kernels.errors import REASONS, MalformedBatch
from smartconnect.kernels.forward import HOPS_BEGIN, HOPS_END, PROVENANCE, Part
from smartconnect.kernels.twin_record import BadRecord, read_record, varint

_TEXT: Final = rb'"(?:[^"\\]|\\.)*"'
_HOP: Final = rb'\{"c":%s,"t":%s,"p":-?[0-9]+,"o":-?[0-9]+,"ts":-?[0-9]+\}' % (_TEXT, _TEXT)
_ONE_HOP: Final = re.compile(_HOP, re.DOTALL)
_HOPS: Final = re.compile(re.escape(HOPS_BEGIN) + _HOP + rb"(?:," + _HOP + rb")*" + re.escape(HOPS_END), re.DOTALL)
_MAX_OFFSET: Final = (1 << 63) - 1
_MAX_DELTA: Final = (1 << 31) - 1

Header = tuple[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Parsed:
    """One record, checked. `body`: key and value as they are stored, lengths included. `end`: where the next one begins."""

    offset: int
    timestamp: int
    attributes: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    body: bytes
    stored_headers: bytes
    end: int

    def hops(self) -> list[bytes]:
        """The hops of its first provenance header; none if there is no header or it is not canonical."""
        values = [value for name, value in self.headers if name == PROVENANCE]
        return hops(values[0]) if values else []

    def has_been_at(self, place: bytes) -> bool:
        """Does a hop of any provenance header begin with these bytes?"""
        values = [value for name, value in self.headers if name == PROVENANCE]
        return any(hop.startswith(place) for value in values for hop in hops(value))


def hops(value: bytes | None) -> list[bytes]:
    """The hops that a header names, if it is exactly what we write."""
    if value is None or not _HOPS.fullmatch(value):
        return []
    return _ONE_HOP.findall(value, len(HOPS_BEGIN))


def wrapped(number: int) -> int:
    """As a signed number of 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def check_parts(parts: Sequence[Part]) -> None:
    """Refuse offsets that no caller of ours can mean."""
    for part in parts:
        if not 0 <= part.base_offset <= part.last_offset < _MAX_OFFSET or part.last_offset - part.base_offset > _MAX_DELTA:
            raise ValueError("these offsets do not belong to a batch")


def parsed(part: Part, section: int, at: int = 0, done: int = 0, delta: int = -1) -> Iterator[Parsed]:
    """The records of a part from byte `at` on, `done` of which have been taken, the last with this offset delta. MalformedBatch."""
    view = memoryview(part.data).cast("B")
    for _ in range(done, part.count):
        if at == len(view):
            raise MalformedBatch(at, REASONS[errors.TOO_FEW_RECORDS], section)
        try:
            found = read_record(view, at, len(view))
        except BadRecord as bad:
            raise MalformedBatch(at, REASONS[bad.args[0]], section) from None
        if found.delta <= delta:
            raise MalformedBatch(at, REASONS[errors.OFFSETS_NOT_ASCENDING], section)
        if found.delta > part.last_offset - part.base_offset:
            raise MalformedBatch(at, REASONS[errors.OUTSIDE_BATCH], section)
        yield _open(part, view, at, found.end)
        at, delta = found.end, found.delta
    if at != len(view):
        raise MalformedBatch(at, REASONS[errors.TOO_MANY_BYTES], section)


def _open(part: Part, view: memoryview, at: int, end: int) -> Parsed:
    """A record that `read_record` has found right."""
    _length, at = varint(view, at, end)
    attributes = view[at]
    time_delta, at = _varlong(view, at + 1)
    delta, body = varint(view, at, end)
    key, at = _field(view, body, end)
    value, headers_at = _field(view, at, end)
    count, at = varint(view, headers_at, end)
    headers: list[Header] = []
    for _ in range(count):
        name, at = _field(view, at, end)
        content, at = _field(view, at, end)
        headers.append((name or b"", content))
    timestamp = wrapped(part.base_timestamp + time_delta) if part.append_time is None else part.append_time
    stored = bytes(view[headers_at:end])
    return Parsed(
        part.base_offset + delta, timestamp, attributes, key, value, tuple(headers), bytes(view[body:headers_at]), stored, end
    )


def _field(view: memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    size, at = varint(view, at, end)
    return (None, at) if size < 0 else (bytes(view[at : at + size]), at + size)


def _varlong(view: memoryview, at: int) -> tuple[int, int]:
    raw = shift = 0
    while True:
        byte = view[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7
