"""One connection to a store on which parts are sent, one after the other, past any HTTP client: their blocks go to the socket from where
they lie (`ScatterWriter`), and what comes back is a few lines. Used by `part_links`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from smartconnect.objectstore.answer_reader import AnswerReader, NotHttp
from smartconnect.objectstore.answers import Answer
from smartconnect.scatter import ScatterWriter


class PartLink(asyncio.Protocol):
    """For one request at a time. `reusable`: the last one has ended and left the connection as it should be."""

    def __init__(self) -> None:
        self.reusable = False
        self._transport: asyncio.Transport | None = None
        self._writer: ScatterWriter | None = None
        self._reader = AnswerReader()
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def unsent(self) -> int:
        """Bytes of the request that the socket has not taken."""
        if self._writer is None or self._transport is None:
            return 0
        return self._writer.waiting + self._transport.get_write_buffer_size()

    @property
    def heard(self) -> bool:
        """Whether anything of an answer to the last request has come."""
        return self._reader.heard

    def ask(self, head: bytes, blocks: Sequence[memoryview]) -> asyncio.Future[Answer]:
        """Send a request. The future has its answer, which may come before all is sent, or why there is none: OSError, NotHttp."""
        assert self._writer is not None
        self.reusable = False
        self._reader = AnswerReader()
        self._answer = asyncio.get_running_loop().create_future()
        self._writer.write([head, *blocks])
        return self._answer

    def abort(self) -> None:
        """Close it now. Nothing of the blocks is looked at any more."""
        self.reusable = False
        if self._answer is not None:
            self._answer.cancel()
        if self._writer is not None:
            self._writer.drop()
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writer = ScatterWriter(transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort()  # nobody has asked
            return
        try:
            answer = self._reader.feed(data)
        except NotHttp as error:
            self._end(error)
            return
        if answer is not None:
            # A store may refuse before it has read all: the rest must not follow as if it were the next request.
            self.reusable = self._reader.reusable and answer.status < 300 and not self.unsent
            self._answer.set_result(answer)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        answer = self._reader.ended()
        if answer is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        self._end(exc or ConnectionAbortedError())

    def pause_writing(self) -> None:
        if self._writer is not None:
            self._writer.pause()

    def resume_writing(self) -> None:
        if self._writer is not None:
            self._writer.resume()

    def _end(self, reason: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(reason if isinstance(reason, OSError | NotHttp) else OSError())
        self.abort()
