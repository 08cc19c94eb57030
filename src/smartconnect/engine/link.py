"""The child's end of the pipe to its parent: hands messages to the child, sends its heartbeat every second, and tells when the parent
is gone (the pipe closes), upon which the child stops by itself. Used by every child process: workers, API, status.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from smartconnect.engine.protocol import MAX_LINE, Heartbeat, Hello, Message, ProtocolError, decode, encode

HEARTBEAT_S: Final = 1.0
_STUCK_BYTES: Final = 4 * MAX_LINE


class ParentLink:
    """`fd` is the inherited end of the socket pair. `run` returns when the parent is gone."""

    def __init__(self, fd: int, *, handle: Callable[[Message], None], heartbeat: Callable[[], Heartbeat]) -> None:
        self._fd = fd
        self._handle = handle
        self._heartbeat = heartbeat
        self._writer: asyncio.StreamWriter | None = None

    def send(self, message: Message) -> None:
        """Hand a message to the parent; dropped if there is no parent any more, or if it has not read for long."""
        writer = self._writer
        if writer is None or writer.is_closing() or writer.transport.get_write_buffer_size() > _STUCK_BYTES:
            return
        writer.write(encode(message))

    async def run(self) -> None:
        """Serve the pipe until it closes. ProtocolError if the other end is not our parent."""
        reader, self._writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=self._fd), limit=MAX_LINE)
        self.send(Hello(pid=os.getpid()))
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        try:
            while True:
                line = await _line(reader)
                if line is None:
                    return
                message = decode(line)
                if message is not None:
                    self._handle(message)
        finally:
            beating.cancel()
            self._writer.close()

    async def _beat(self) -> None:
        while True:
            self.send(self._heartbeat())
            await asyncio.sleep(HEARTBEAT_S)


async def _line(reader: asyncio.StreamReader) -> bytes | None:
    """One whole line; None when the parent is gone (a torn line is its last breath)."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError:
        raise ProtocolError(f"a line of more than {MAX_LINE} bytes") from None
