"""The few wire types that our hand-written codecs need beyond `struct`: varints, compact strings, tagged fields.

Readers work on a memoryview at a position and raise MalformedData instead of reading past the end. Source: Kafka's
protocol guide ("Protocol Primitive Types"), KIP-482."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from smartconnect.domain.errors import MalformedData

_NAMES_KEPT: Final = 256


def put_varint(out: bytearray, value: int) -> None:
    """Append an UNSIGNED_VARINT."""
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


@lru_cache(maxsize=_NAMES_KEPT)
def compact_string(text: str) -> bytes:
    """COMPACT_STRING: length + 1 as varint, UTF-8. Names of topics come again with each request."""
    raw = text.encode()
    out = bytearray()
    put_varint(out, len(raw) + 1)
    return bytes(out + raw)


def plain_string(text: str) -> bytes:
    """STRING: length as int16, UTF-8."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def take_varint(data: memoryview, at: int) -> tuple[int, int]:
    """(UNSIGNED_VARINT, position behind it); at most 32 bits."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, at
    raise MalformedData("a Kafka answer is cut off, or holds a number that is too long")


def take_bytes(data: memoryview, at: int, length: int) -> tuple[memoryview, int]:
    """(slice, position behind it)."""
    end = at + length
    if length < 0 or end > len(data):
        raise MalformedData(f"a Kafka answer announces {length} bytes where {len(data) - at} are left")
    return data[at:end], end


def take_text(data: memoryview, at: int, length: int) -> tuple[str, int]:
    """(UTF-8 text, position behind it)."""
    raw, at = take_bytes(data, at, length)
    try:
        return str(raw, "utf-8"), at
    except UnicodeDecodeError as error:
        raise MalformedData("a Kafka answer holds a name that is not UTF-8") from error


def skip_tags(data: memoryview, at: int) -> int:
    """Position behind a section of tagged fields that we do not need."""
    if at < len(data) and not data[at]:
        return at + 1
    count, at = take_varint(data, at)
    for _ in range(count):
        _, at = take_varint(data, at)
        length, at = take_varint(data, at)
        _, at = take_bytes(data, at, length)
    return at
