"""One TCP or TLS connection that carries Kafka frames: answers are matched to requests in order, by correlation id.

Guarantees: a response frame is received into its own buffer and handed over as a view of it; whatever goes wrong (a late
answer, a broken frame, a foreign correlation id, a lost connection) ends the connection and fails every request in flight
with ConnectionLost, never one of them silently. Memory is bounded by `max_frame` and by the caller's in-flight cap.
Called by `connection` alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from smartconnect.domain.errors import AuthenticationFailed, MalformedData, SmartConnectError
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.framing import FrameReader
from smartconnect.scatter import ScatterWriter

GULP = 1 << 20
"""Of a large frame so many bytes are waited for before they are read, or what it still lacks: each read costs a round of the loop."""
SIP = 64 << 10
"""For less the mark is not worth a call."""
BEFORE_LOGIN = 1 << 20
"""Largest frame accepted from a peer that has not proven to be our Kafka."""


class _Pending(NamedTuple):
    correlation: int
    answer: asyncio.Future[memoryview]
    deadline: float


def _unnoticed() -> None:
    """Nobody wants to know."""


class Wire(asyncio.BufferedProtocol):
    """`peer` names the other end in errors: "broker 1 (host:port)". `lost` is called once if the connection ends otherwise than by us."""

    def __init__(self, peer: str, lost: Callable[[], None] = _unnoticed) -> None:
        self.peer = peer
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(BEFORE_LOGIN)
        self._pending: deque[_Pending] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._writer: ScatterWriter | None = None
        self._socket: socket.socket | None = None
        self._low_mark = 1
        self._reason: SmartConnectError | None = None
        self._ended = self._loop.create_future()

    @property
    def closed(self) -> bool:
        return self._reason is not None

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def allow_frames(self, largest: int) -> None:
        """Set the frame limit once the peer has proven to be Kafka."""
        self._frames.max_frame = largest

    def submit(
        self, correlation: int, parts: Sequence[bytes | bytearray | memoryview], timeout_s: float
    ) -> asyncio.Future[memoryview]:
        """Send the parts as one request, at once and behind what was submitted before; the answer is the frame behind its
        correlation id."""
        if self._reason is not None or self._writer is None:
            raise ConnectionLost(f"the connection to {self.peer} is closed: {self._reason}")
        answer: asyncio.Future[memoryview] = self._loop.create_future()
        deadline = self._loop.time() + timeout_s
        self._pending.append(_Pending(correlation, answer, deadline))
        if self._timer is None or self._timer.when() > deadline:
            self._arm(deadline)
        self._writer.write(parts)
        return answer

    def close(self, reason: SmartConnectError | None = None) -> None:
        """End the connection now; requests in flight fail with `reason`."""
        if self._reason is None:
            self._fail(reason or ConnectionLost(f"the connection to {self.peer} was closed by us"), by_us=reason is None)
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Return when the socket is gone."""
        if self._transport is not None:
            await asyncio.shield(self._ended)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._check_deadlines)

    def _check_deadlines(self) -> None:
        self._timer = None
        if not self._pending:
            return
        soonest = min(pending.deadline for pending in self._pending)
        if soonest <= self._loop.time():
            self.close(ConnectionLost(f"{self.peer} does not answer in time"))
        else:
            self._arm(soonest)

    def _fail(self, reason: SmartConnectError, *, by_us: bool = False) -> None:
        self._reason = reason
        if not by_us:
            self._lost()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            answer = self._pending.popleft().answer
            if not answer.done():
                answer.set_exception(reason)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writer = ScatterWriter(transport)
        if transport.get_extra_info("sslcontext") is None:  # what TLS has read ahead would not count
            self._socket = transport.get_extra_info("socket")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._frames.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for frame in self._frames.received(nbytes):
                self._take(frame)
            self._wait_for(self._frames.missing)
        except MalformedData as error:
            self.close(ConnectionLost(f"{self.peer} does not speak Kafka's protocol here: {error}"))

    def _wait_for(self, nbytes: int) -> None:
        """Be woken when that much, at most `GULP`, is there to be read (SO_RCVLOWAT), or the connection has ended."""
        mark = min(nbytes, GULP) if nbytes > SIP else 1
        if mark != self._low_mark and self._socket is not None:
            self._low_mark = mark
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)

    def _take(self, frame: memoryview) -> None:
        correlation = int.from_bytes(frame[:4], "big", signed=True)
        if not self._pending or self._pending[0].correlation != correlation:
            raise MalformedData(f"answer {correlation} belongs to no request")
        answer = self._pending.popleft().answer
        if not answer.done():
            answer.set_result(frame[4:])

    def pause_writing(self) -> None:
        if self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        if self._writer is not None:
            self._writer.resume()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reason is None:
            self._fail(_why_lost(self.peer, exc))
        if not self._ended.done():
            self._ended.set_result(None)


def _why_lost(peer: str, cause: Exception | None) -> SmartConnectError:
    if isinstance(cause, ssl.SSLError):
        reason = f"TLS with {peer} failed: {cause.reason or cause}; check cert_file and key_file"
        return AuthenticationFailed(reason, setting="security_protocol")
    return ConnectionLost(f"{peer} closed the connection" + (f": {cause}" if cause else ""))
