"""Numbers and names inside the values of the positions topic: unsigned varints of at most 63 bits, UTF-8 with its length before it.

Pure. Used by `position_codec` and `offset_map`. A reader never looks beyond its bytes: whatever does not fit is MalformedData.
"""

from __future__ import annotations

from typing import Final

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.primitives import put_varint

LARGEST: Final = (1 << 63) - 1
_MOST_BITS: Final = 63


def put_number(out: bytearray, number: int) -> None:
    """Append 0 … 2⁶³−1."""
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} is no unsigned number of 63 bits")
    put_varint(out, number)


def put_text(out: bytearray, text: str) -> None:
    raw = text.encode()
    put_varint(out, len(raw))
    out += raw


class ValueReader:
    """Walks through one value. `left`: bytes not read yet."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data, self._at = bytes(data), 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def number(self) -> int:
        data, at, value = self._data, self._at, 0
        for shift in range(0, _MOST_BITS, 7):
            if at >= len(data):
                raise MalformedData("a number in a stored position is cut off")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self._at = at
                return value
        raise MalformedData("a number in a stored position is too long")

    def raw(self, length: int) -> bytes:
        if length > self.left:
            raise MalformedData("a stored position is cut off")
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        try:
            return self.raw(self.number()).decode()
        except UnicodeDecodeError:
            raise MalformedData("a name in a stored position is not UTF-8") from None

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise MalformedData(f"a stored position has {self.left} bytes too many")
