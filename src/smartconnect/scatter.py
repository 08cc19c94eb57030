"""Scatter-gather sending: the parts of a request go to the socket from where they lie, and wait there while it is full.

asyncio's own `writelines` joins its parts (Python 3.11), which would copy every record batch once. Here `os.writev` takes
them; when the socket is full, one small piece is left to the transport, whose `resume_writing` tells when to go on, so at
most `SPILL` bytes are copied each time. With TLS the transport encrypts part by part. Used by the connections to Kafka and by
those on which parts go to a store."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from itertools import islice

SPILL = 32 * 1024
JOIN_BELOW = 16 * 1024
_MAX_PARTS = 256


class ScatterWriter:
    """Owns the order of bytes of one transport. `pause`, `resume` are the transport's flow control callbacks."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._queue: deque[bytes | bytearray | memoryview] = deque()
        self._full = False
        self._descriptor = -1
        if transport.get_extra_info("sslcontext") is None:
            sock = transport.get_extra_info("socket")
            self._descriptor = sock.fileno() if sock is not None else -1
            transport.set_write_buffer_limits(high=0)

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Queue the parts, views of single bytes; the caller keeps them unchanged until the answer is there."""
        self._queue.extend(parts)
        if not self._full:
            self._flush()

    @property
    def waiting(self) -> int:
        """Bytes that neither the socket nor the transport has taken."""
        return sum(map(len, self._queue))

    def drop(self) -> None:
        """Let go of what has not been sent; the transport is being closed."""
        self._queue.clear()

    def pause(self) -> None:
        self._full = True

    def resume(self) -> None:
        self._full = False
        self._flush()

    def _flush(self) -> None:
        queue, transport = self._queue, self._transport
        while queue and not self._full and not transport.is_closing():
            if self._descriptor < 0 or (len(queue) == 1 and len(queue[0]) <= JOIN_BELOW):
                transport.write(queue.popleft())
            elif not self._writev():
                self._spill()
        if transport.is_closing():
            queue.clear()

    def _writev(self) -> bool:
        """Write what the socket takes; False when it takes nothing."""
        queue = self._queue
        try:
            written = os.writev(self._descriptor, queue if len(queue) <= _MAX_PARTS else list(islice(queue, _MAX_PARTS)))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._transport.abort()
            return True
        while queue and written >= len(queue[0]):
            written -= len(queue.popleft())
        if written:
            queue[0] = memoryview(queue[0])[written:]
        return True

    def _spill(self) -> None:
        first = memoryview(self._queue[0])
        if len(first) > SPILL:
            self._queue[0] = first[SPILL:]
        else:
            self._queue.popleft()
        self._transport.write(first[:SPILL])
