"""The bytes of one HTTP/1.1 answer → an `Answer`, without I/O, in bounded memory. For answers to parts: there are many of them, each is
short, and what a general client makes of one costs more than sending a mebibyte.

Source: RFC 9112 (§4 status line, §5 fields, §6 body length, §7.1 chunked), RFC 9110 §15.2 (1xx).
"""

from __future__ import annotations

import re
from typing import Final

from smartconnect.objectstore.answers import Answer

MOST_HEAD_BYTES: Final = 64 << 10
MOST_BODY_BYTES: Final = 1 << 20
"""The answer to a part has a few lines, an error document a few more."""
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DECIMAL: Final = re.compile(r"[0-9]{1,15}")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,12}")
_MOST_LINE_BYTES: Final = 4096


class NotHttp(Exception):
    """These bytes are no answer, or too many."""


class AnswerReader:
    """Give what arrives to `feed`, and say `ended` when the connection has; each returns the answer once it is whole. `reusable`: whether
    another request may follow on the connection. Raises NotHttp."""

    def __init__(self) -> None:
        self.heard = False
        self.reusable = False
        self._bytes = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._missing: int | None = 0  # bytes of body; None: up to the end of the connection
        self._chunked = False

    def feed(self, data: bytes) -> Answer | None:
        self.heard = True
        self._bytes += data
        if not self._status and not self._read_head():
            return None
        return self._read_chunks() if self._chunked else self._read_rest()

    def ended(self) -> Answer | None:
        """None: the answer is cut off, or has not begun."""
        if self._status and self._missing is None and not self._chunked:
            return self._answer()
        return None

    def _read_head(self) -> bool:
        while True:
            end = self._bytes.find(b"\r\n\r\n")
            if end > MOST_HEAD_BYTES or (end < 0 and len(self._bytes) > MOST_HEAD_BYTES):
                raise NotHttp(f"its head is longer than {MOST_HEAD_BYTES} bytes")
            if end < 0:
                return False
            first, *lines = bytes(self._bytes[:end]).split(b"\r\n")
            del self._bytes[: end + 4]
            found = _STATUS.fullmatch(first)
            if found is None:
                raise NotHttp("it has no status line")
            if found[2][:1] != b"1":  # what is provisional is passed over
                break
        self._headers = _fields(lines)
        self._status = int(found[2])
        self.reusable = found[1] == b"1" and "close" not in self._headers.get("connection", "").lower()
        self._find_length()
        return True

    def _find_length(self) -> None:
        coding, length = self._headers.get("transfer-encoding"), self._headers.get("content-length")
        if self._status in (204, 304):
            self._missing = 0
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise NotHttp("the length of its body cannot be told")
            self._chunked = True
        elif length is None:
            self._missing, self.reusable = None, False
        elif _DECIMAL.fullmatch(length) is None:
            raise NotHttp("the length of its body is no number")
        else:
            self._missing = int(length)
            self._allow(self._missing)

    def _read_rest(self) -> Answer | None:
        if self._missing is None:
            self._allow(len(self._bytes))
            self._take(len(self._bytes))
            return None
        taken = min(self._missing, len(self._bytes))
        self._take(taken)
        self._missing -= taken
        return None if self._missing else self._answer()

    def _read_chunks(self) -> Answer | None:
        while True:
            end = self._bytes.find(b"\r\n", 0, _MOST_LINE_BYTES)
            if end < 0:
                if len(self._bytes) >= _MOST_LINE_BYTES:
                    raise NotHttp("a line of its body is too long")
                return None
            size = self._bytes[:end].partition(b";")[0].strip()
            if _HEX.fullmatch(size) is None:
                raise NotHttp("a chunk of its body has no length")
            count = int(size, 16)
            self._allow(count)
            if not count:
                return self._after_last_chunk(end)
            if len(self._bytes) < end + 2 + count + 2:
                return None
            if self._bytes[end + 2 + count : end + 4 + count] != b"\r\n":
                raise NotHttp("a chunk of its body has another length than it says")
            del self._bytes[: end + 2]
            self._take(count)
            del self._bytes[:2]

    def _after_last_chunk(self, end: int) -> Answer | None:
        """Trailers mean nothing to us; the empty line behind them ends the answer."""
        if self._bytes[end + 2 : end + 4] == b"\r\n":
            del self._bytes[: end + 4]
            return self._answer()
        trailers = self._bytes.find(b"\r\n\r\n", end)
        if trailers < 0:
            if len(self._bytes) > MOST_HEAD_BYTES:
                raise NotHttp("its trailers are too long")
            return None
        del self._bytes[: trailers + 4]
        return self._answer()

    def _allow(self, more: int) -> None:
        if len(self._body) + more > MOST_BODY_BYTES:
            raise NotHttp(f"its body is longer than {MOST_BODY_BYTES} bytes")

    def _take(self, count: int) -> None:
        self._body += self._bytes[:count]
        del self._bytes[:count]

    def _answer(self) -> Answer:
        if self._bytes:
            self.reusable = False
        return Answer(status=self._status, headers=self._headers, body=bytes(self._body))


def _fields(lines: list[bytes]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or _NAME.fullmatch(name) is None:
            raise NotHttp("a line of its head is no field")
        name, value = name.lower(), value.strip(" \t")
        if name in fields and (name != "content-length" or fields[name] != value):
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return fields
