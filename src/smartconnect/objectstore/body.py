"""A part's body on its way to the store: a list of blocks, sent as it is, in order, without joining or copying it. Used by the transport
for UploadPart; the blocks belong to the caller, who must leave them alone until the call has returned.

Over plain TCP the kernel takes many blocks in one `sendmsg`, on a duplicate of the connection's descriptor, past the event loop's
transport: that one copies whatever the socket does not take at once, which costs 0.3 CPU-seconds per GB. Over TLS, blocks go through the
transport, which holds no more than its high-water mark. Either way a slow store stops the writing instead of filling memory.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload

# What is handed over in one go: little enough to keep the loop for well under 5 ms. A socket takes no more than its buffer, whatever the
# blocks' sizes.
_WINDOW_BLOCKS: Final = 17
_TLS_PIECE_BYTES: Final = 1 << 17


class Blocks:
    """The bytes of a part: blocks, in order, and how many bytes they are."""

    __slots__ = ("nbytes", "views")

    def __init__(self, views: Sequence[memoryview]) -> None:
        self.views = views
        self.nbytes = sum([len(view) for view in views])


class BlockBody(Payload):
    """`progress` is called with the bytes still to send, as they leave: who waits moves the deadline with it."""

    def __init__(self, blocks: Blocks, progress: Callable[[int], None]) -> None:
        super().__init__(blocks, content_type="application/octet-stream")
        self._blocks = blocks
        self._progress = progress
        self._size = blocks.nbytes

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Nobody asks for it: the body of a part is never shown."""
        raise TypeError("a part's body is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all blocks; may be called again for another connection."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """As `write`; the length is that of the blocks and was announced as such."""
        assert isinstance(writer, StreamWriter)
        transport = writer.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        rest = _Rest(self._blocks)
        if transport.get_extra_info("ssl_object") is None:
            # Now "drained" means that nothing is left in the transport. (That of TLS would never resume after this.)
            transport.set_write_buffer_limits(high=0)
            writer.send_headers()
            await writer.drain()
            await self._send_past(transport, rest)
        else:
            await self._send_through(writer, rest)

    async def _send_past(self, transport: asyncio.Transport, rest: _Rest) -> None:
        descriptor = os.dup(transport.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as duplicate:
            duplicate.setblocking(False)
            while rest.nbytes:
                # The duplicate would keep a connection alive that everybody else has given up.
                if transport.is_closing():
                    raise ConnectionResetError("the connection is closed")
                try:
                    sent = duplicate.sendmsg(rest.window(_WINDOW_BLOCKS))
                except BlockingIOError:
                    await _writable(descriptor)
                    continue
                rest.advance(sent)
                self._progress(rest.nbytes)
                await asyncio.sleep(0)

    async def _send_through(self, writer: StreamWriter, rest: _Rest) -> None:
        while rest.nbytes:
            piece = rest.piece(_TLS_PIECE_BYTES)
            await writer.write(piece)
            rest.advance(len(piece))
            self._progress(rest.nbytes)


class _Rest:
    """What of the blocks is still to send."""

    def __init__(self, blocks: Blocks) -> None:
        self._views = blocks.views
        self._index = 0
        self._offset = 0
        self.nbytes = blocks.nbytes

    def window(self, count: int) -> list[memoryview]:
        """The next `count` blocks, or fewer at the end."""
        views = list(self._views[self._index : self._index + count])
        if self._offset:
            views[0] = views[0][self._offset :]
        return views

    def piece(self, limit: int) -> memoryview:
        """What is left of the next block, at most `limit` bytes of it."""
        return self._views[self._index][self._offset : self._offset + limit]

    def advance(self, nbytes: int) -> None:
        """`nbytes` have left."""
        self.nbytes -= nbytes
        while self._index < len(self._views):
            here = len(self._views[self._index]) - self._offset
            if nbytes < here:
                self._offset += nbytes
                return
            nbytes -= here
            self._index += 1
            self._offset = 0


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
