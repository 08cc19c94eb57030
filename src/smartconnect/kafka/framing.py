"""Bytes of a socket → whole Kafka frames, without I/O: the receiving half of `asyncio.BufferedProtocol`.

A frame is a 4-byte big-endian length and that many bytes. A large frame gets a buffer of exactly its size and the socket
writes straight into it; only its head (at most `HEAD` bytes) passes through a small buffer, which also lets many small
answers arrive with one read. A length that is negative or beyond the limit raises before anything is allocated."""

from __future__ import annotations

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.buffers import FRAMES

HEAD = 4096


class FrameReader:
    """Give `buffer()` to the socket, tell `received(n)` what came; it returns the frames that are now complete."""

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        self._head = memoryview(bytearray(HEAD))
        self._filled = 0
        self._body: memoryview | None = None
        self._got = 0

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._body is not None:
            return self._body[self._got :]
        return self._head[self._filled :]

    @property
    def missing(self) -> int:
        """Bytes that the frame under way still lacks; 0 between frames."""
        return 0 if self._body is None else len(self._body) - self._got

    def received(self, count: int) -> list[memoryview]:
        if self._body is None:
            self._filled += count
            return self._split_head()
        self._got += count
        if self._got < len(self._body):
            return []
        frame, self._body = self._body, None
        return [frame]

    def _split_head(self) -> list[memoryview]:
        head, end, at = self._head, self._filled, 0
        frames: list[memoryview] = []
        while end - at >= 4:
            size = int.from_bytes(head[at : at + 4], "big", signed=True)
            if not 4 <= size <= self.max_frame:
                raise MalformedData(f"a frame announces {size} bytes; allowed are 4 to {self.max_frame}")
            at += 4
            got = min(size, end - at)
            body = FRAMES.take(size)
            body[:got] = head[at : at + got]
            at += got
            if got < size:
                self._body, self._got = body, got
                break
            frames.append(body)
        rest = end - at
        if at and rest:
            head[:rest] = bytes(head[at:end])
        self._filled = rest
        return frames
