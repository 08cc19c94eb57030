"""One HTTP exchange with a store, and the connections for it. Everything that goes wrong below HTTP leaves here as `LinkBroken`, with a
reason that shows no URL (a presigned one carries key and signature). Used by the wire only. Parts have connections of their own
(`part_links`); all else goes by aiohttp, which sends a GET, DELETE or PUT once more if a kept connection breaks: the store may have closed
it between two requests.

All stores of a process share connections, name cache, CA certificates (for each CA file) and clients (for each place); the last one to
leave closes them. The cap only bounds sockets: how many requests are on their way is decided above, in shares, so no store can take
another's connections.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from smartconnect.objectstore.answer_reader import NotHttp
from smartconnect.objectstore.answers import Answer
from smartconnect.objectstore.broken_link import reason_of
from smartconnect.objectstore.errors import BusyKind
from smartconnect.objectstore.model import Timeouts
from smartconnect.objectstore.outgoing import Outgoing
from smartconnect.objectstore.part_links import PartLinks
from smartconnect.objectstore.place import Place
from smartconnect.objectstore.s3client import S3Client

_MAX_CONNECTIONS: Final = 64
_KEEP_ALIVE_S: Final = 15
# The largest control answer is a page of 1000 uploads with keys of 1 KiB.
_MAX_ANSWER_BYTES: Final = 16 << 20
_READ_BYTES: Final = 1 << 18
# ValueError: what aiohttp says of an address it cannot use. TimeoutError is an OSError.
_BROKEN: Final = (aiohttp.ClientError, OSError, ValueError)


class LinkBroken(Exception):
    """No complete answer. Nobody knows whether the store did what was asked."""

    def __init__(self, kind: BusyKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class _LoopbackNames(ThreadedResolver):
    """Names below `localhost` are loopback (RFC 6761 §6.3), although C libraries do not know it; so virtual-hosted buckets of a store on
    this machine are found."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        if not host.endswith(".localhost"):
            return await super().resolve(host, port, family)
        found = await super().resolve("127.0.0.1", port, socket.AF_INET)
        return [ResolveResult(**{**entry, "hostname": host}) for entry in found]


class Transport:
    """The shared connections. Open while somebody holds it: `acquire` … `release`, once each."""

    def __init__(self, tls: str | None) -> None:
        self._tls = tls
        self._users = 0
        self._ready = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._part_links: PartLinks | None = None
        self._clients: dict[Place, S3Client] = {}

    async def _enter(self) -> None:
        self._users += 1
        async with self._ready:
            if self._session is None:
                self._session = await self._open_session()

    async def release(self) -> None:
        """Give it back."""
        self._users -= 1
        if self._users > 0:
            return
        _transports.get(asyncio.get_running_loop(), {}).pop(self._tls, None)
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()
        session, self._session = self._session, None
        links, self._part_links = self._part_links, None
        if links is not None:
            links.close()
        if session is not None:
            await session.close()

    async def client(self, place: Place) -> S3Client:
        """The client of all stores that are answered at `place`. Raises `BotoCoreError`, `ValueError`."""
        async with self._ready:
            if place not in self._clients:
                client = S3Client()
                try:
                    self._clients[place] = await client.open(place)
                except BaseException:
                    await client.close()
                    raise
            return self._clients[place]

    async def _open_session(self) -> aiohttp.ClientSession:
        context = None if self._tls is None else await asyncio.to_thread(ssl.create_default_context, cafile=self._tls or None)
        self._part_links = PartLinks(context)
        connector = aiohttp.TCPConnector(
            limit=_MAX_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S, ssl=context or True, resolver=_LoopbackNames()
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
        )

    async def exchange(self, out: Outgoing, timeouts: Timeouts) -> Answer:
        """Send and read the whole answer. Raises `LinkBroken`."""
        try:
            if out.blocks is not None:
                return await self._parts().exchange(out, out.blocks, timeouts)
            async with asyncio.timeout(timeouts.connect + out.answer_s), await self._request(out, timeouts) as response:
                body = await _read(response)
                if response.status >= 300:
                    # A store may refuse before it has read the body: the rest of it must not follow on this connection.
                    response.close()
                return Answer(status=response.status, headers=_headers(response), body=body)
        except NotHttp as error:
            raise LinkBroken(BusyKind.UNREADABLE, f"the answer is not HTTP: {error}") from None
        except _BROKEN as error:
            # The chain is cut: texts of aiohttp contain the URL.
            raise _link_broken(error) from None

    async def open(self, out: Outgoing, timeouts: Timeouts) -> aiohttp.ClientResponse:
        """Send and return with the head of the answer; the caller reads and closes. Raises `LinkBroken`."""
        try:
            async with asyncio.timeout(timeouts.connect + out.answer_s):
                return await self._request(out, timeouts)
        except _BROKEN as error:
            raise _link_broken(error) from None

    def _parts(self) -> PartLinks:
        if self._part_links is None:
            raise LinkBroken(BusyKind.DISCONNECTED, "the client is closed")
        return self._part_links

    async def _request(self, out: Outgoing, timeouts: Timeouts) -> aiohttp.ClientResponse:
        if self._session is None:
            raise LinkBroken(BusyKind.DISCONNECTED, "the client is closed")
        return await self._session.request(
            out.method,
            URL(out.url, encoded=True),
            headers=out.headers,
            data=out.data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect, sock_read=None),
        )


_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, Transport]] = WeakKeyDictionary()


async def acquire(*, https: bool, ca_file: str) -> Transport:
    """The connections of this event loop for this CA file. Raises `OSError` if the file cannot be read."""
    tls = ca_file if https else None
    transport = _transports.setdefault(asyncio.get_running_loop(), {}).setdefault(tls, Transport(tls))
    try:
        await transport._enter()
    except BaseException:
        await transport.release()
        raise
    return transport


async def chunks(response: aiohttp.ClientResponse, stall_s: float) -> AsyncIterator[bytes]:
    """The body of an opened answer as it comes. Raises `LinkBroken` when it ends early or stands still for `stall_s`."""
    try:
        while True:
            async with asyncio.timeout(stall_s):
                chunk = await response.content.read(_READ_BYTES)
            if not chunk:
                return
            yield chunk
    except _BROKEN as error:
        raise _link_broken(error) from None


async def read_answer(response: aiohttp.ClientResponse, timeouts: Timeouts) -> Answer:
    """The whole of an opened answer; the connection is not used again. Raises `LinkBroken`."""
    try:
        async with asyncio.timeout(timeouts.answer):
            return Answer(status=response.status, headers=_headers(response), body=await _read(response))
    except _BROKEN as error:
        raise _link_broken(error) from None
    finally:
        response.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await response.content.read(_READ_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise LinkBroken(BusyKind.UNREADABLE, f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _link_broken(error: Exception) -> LinkBroken:
    if isinstance(error, TimeoutError):
        return LinkBroken(BusyKind.TIMEOUT, reason_of(error))
    return LinkBroken(BusyKind.DISCONNECTED, reason_of(error))
