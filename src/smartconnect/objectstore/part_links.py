"""The connections on which a process sends its parts: taken for one part, kept for the next. Used by the transport.

A part on a kept connection that breaks before a byte of its answer has come is sent once more, on a new one: the store may have closed it
between two requests. How many there are is decided above, by the places for parts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from smartconnect.objectstore.answers import Answer
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.broken_link import NoConnection
from smartconnect.objectstore.model import Timeouts
from smartconnect.objectstore.outgoing import Outgoing
from smartconnect.objectstore.part_link import PartLink
from smartconnect.objectstore.signing import host_of

_KEEP_ALIVE_S: Final = 15.0
_HAPPY_EYEBALLS_S: Final = 0.25
_PORTS: Final = {"http": 80, "https": 443}
# How often a part that takes long is looked after, in parts of the time that it may stand still.
_LOOKS: Final = 8


class Origin(NamedTuple):
    """Where a connection leads."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Part:
    """What is sent, and for how long it may stand still before and after the last byte."""

    head: bytes
    blocks: Blocks
    stall_s: float
    answer_s: float


class PartLinks:
    """`context`: for https; None: the system's authorities, where a redirect leads there."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._kept: defaultdict[Origin, list[tuple[PartLink, asyncio.TimerHandle]]] = defaultdict(list)
        self._closed = False

    async def exchange(self, out: Outgoing, blocks: Blocks, timeouts: Timeouts) -> Answer:
        """Send a part and read the whole answer. Raises NoConnection; TimeoutError: no byte was taken for `timeouts.stall`, or no answer
        has come `out.answer_s` after the last one; another OSError; NotHttp."""
        url = urlsplit(out.url)
        origin = Origin(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme])
        part = _Part(_head(url, out, blocks), blocks, timeouts.stall, out.answer_s)
        link = self._take(origin)
        if link is not None:
            try:
                return await self._send(origin, link, part)
            except TimeoutError:
                raise
            except OSError:
                if link.heard:
                    raise
        return await self._send(origin, await self._connect(origin, timeouts.connect), part)

    def close(self) -> None:
        """Close what nobody uses now, and what is in use when it has been."""
        self._closed = True
        for kept in self._kept.values():
            for link, timer in kept:
                timer.cancel()
                link.abort()
        self._kept.clear()

    async def _send(self, origin: Origin, link: PartLink, part: _Part) -> Answer:
        try:
            answer = link.ask(part.head, part.blocks.views)
            await _patiently(answer, link, part)
            return answer.result()
        finally:
            if link.reusable and not self._closed:
                self._keep(origin, link)
            else:
                link.abort()

    async def _connect(self, origin: Origin, patience_s: float) -> PartLink:
        # Names below `localhost` are loopback (RFC 6761 §6.3), although C libraries do not know it.
        host = "127.0.0.1" if origin.host.endswith(".localhost") else origin.host
        tls = (self._context or True) if origin.scheme == "https" else None
        try:
            async with asyncio.timeout(patience_s):
                _, link = await asyncio.get_running_loop().create_connection(
                    PartLink,
                    host,
                    origin.port,
                    ssl=tls,
                    server_hostname=origin.host if tls else None,
                    happy_eyeballs_delay=_HAPPY_EYEBALLS_S,
                )
        except TimeoutError:
            raise
        except (OSError, UnicodeError) as error:
            raise NoConnection(origin.host, origin.port, error) from None
        return link

    def _take(self, origin: Origin) -> PartLink | None:
        kept = self._kept[origin]
        while kept:
            link, timer = kept.pop()
            timer.cancel()
            if link.reusable:
                return link
        return None

    def _keep(self, origin: Origin, link: PartLink) -> None:
        self._kept[origin].append((link, asyncio.get_running_loop().call_later(_KEEP_ALIVE_S, self._drop, origin, link)))

    def _drop(self, origin: Origin, link: PartLink) -> None:
        self._kept[origin] = [entry for entry in self._kept[origin] if entry[0] is not link]
        link.abort()


async def _patiently(answer: asyncio.Future[Answer], link: PartLink, part: _Part) -> None:
    """Until the answer is there, as long as bytes leave."""
    loop = asyncio.get_running_loop()
    unsent, moved_at = link.unsent, loop.time()
    while not answer.done():
        limit = part.stall_s if unsent else part.answer_s
        await asyncio.wait((answer,), timeout=limit / _LOOKS)
        left, now = link.unsent, loop.time()
        if left != unsent:
            unsent, moved_at = left, now
        elif now - moved_at >= limit and not answer.done():
            raise TimeoutError


def _head(url: SplitResult, out: Outgoing, blocks: Blocks) -> bytes:
    lines = [
        f"{out.method} {url.path}?{url.query} HTTP/1.1",
        f"Host: {host_of(url)}",
        f"Content-Length: {blocks.nbytes}",
        *(f"{name}: {value}" for name, value in out.headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
