"""The network between a proxy's two sides, as tests want to break it. Used by both proxies."""

from __future__ import annotations

import asyncio
import socket
import struct

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Network:
    """Whether bytes move: the state that `cut`, `blackhole` and `heal` of a proxy change."""

    def __init__(self) -> None:
        self.is_cut = False
        self._moves = asyncio.Event()
        self._moves.set()

    def cut(self) -> None:
        self.is_cut = True
        self._moves.set()

    def blackhole(self) -> None:
        self.is_cut = False
        self._moves.clear()

    def heal(self) -> None:
        self.is_cut = False
        self._moves.set()

    async def moves(self) -> None:
        """Wait while the network is a black hole."""
        await self._moves.wait()


def reset_transport(transport: asyncio.BaseTransport) -> None:
    """End the connection with a TCP reset: the other side gets an error, never a clean end of the stream."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
