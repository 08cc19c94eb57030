"""The Python twin of the compiled inner loops of Produce requests and answers, in the compact encoding (v9 and later, KIP-482). The rest of
both is `kafka.produce_codec`'s."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from smartconnect.kernels.batch import BytesLike

_NUMBER: Final = struct.Struct(">i")
_QUIET: Final = struct.Struct(">ihqqq3s")
_NO_WORDS: Final = b"\1\0\0"


def put_batches(parts: list[BytesLike], head: bytes, batches: Sequence[tuple[int, BytesLike]]) -> bytes:
    """Append to the parts of a request what the batches of one topic are: (partition, one whole batch) each, the batch as it lies. `head`
    is what stands before the first; what must stand behind the last is returned. OverflowError for a number that fits no partition."""
    between = head
    for number, batch in batches:
        parts.append(between + _partition(number) + _varint(len(batch) + 1))
        parts.append(batch)
        between = b"\0"
    return between


def quiet_answers(body: memoryview, at: int, count: int) -> tuple[list[tuple[int, int]], int]:
    """Of the next `count` partitions of an answer those at the beginning that are stored and say nothing else: (partition, base offset)
    each, and the position behind them."""
    if at < 0:
        raise ValueError("a position is never negative")
    found: list[tuple[int, int]] = []
    while len(found) < count and len(body) - at >= _QUIET.size:
        number, error, base_offset, _, _, words = _QUIET.unpack_from(body, at)
        if error or words != _NO_WORDS:
            break
        found.append((number, base_offset))
        at += _QUIET.size
    return found, at


def _partition(number: int) -> bytes:
    if not 0 <= number < 1 << 31:
        raise OverflowError(f"{number} is no partition's number")
    return _NUMBER.pack(number)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
