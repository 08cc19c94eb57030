"""A part's body leaves whole and in order, however the blocks are cut and however little the socket takes; what the other side does to the
connection is told, or put right."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from smartconnect.objectstore.answer_reader import NotHttp
from smartconnect.objectstore.answers import Answer
from smartconnect.objectstore.blocks import Blocks
from smartconnect.objectstore.broken_link import NoConnection
from smartconnect.objectstore.model import Timeouts
from smartconnect.objectstore.outgoing import Outgoing
from smartconnect.objectstore.part_links import PartLinks

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PATIENCE = Timeouts(connect=5.0, stall=10.0)


class Store:
    """A server that does with each connection what `handle` says. `bodies`: what it was sent; `connections`: how many there were."""

    def __init__(self) -> None:
        self.handle: Handler = self.take
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """One request, in pieces with pauses, so that the sender's socket is full."""
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = bytearray()
        while len(body) < size:
            body += await reader.read(min(100_000, size - len(body)))
            await asyncio.sleep(0)
        self.heads.append(head)
        self.bodies.append(bytes(body))

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every request is well."""
        while True:
            await self.read(reader)
            writer.write(DONE)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/lake/a%2Bb?partNumber=1"
    async with server:
        yield made


@pytest.fixture
async def links() -> AsyncIterator[PartLinks]:
    opened = PartLinks(None)
    yield opened
    opened.close()


async def put(
    links: PartLinks, url: str, blocks: list[memoryview], *, timeouts: Timeouts = PATIENCE, answer_s: float = 10.0
) -> Answer:
    return await links.exchange(Outgoing("PUT", url, {"x-sum": "1"}, answer_s=answer_s), Blocks(blocks), timeouts)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("sizes", [[0], [1], [65536] * 100 + [7], [20 << 20], [3, 0, 0, 5 << 20, 1]])
async def test_the_store_gets_exactly_the_blocks_twice_on_one_connection(store: Store, links: PartLinks, sizes: list[int]) -> None:
    blocks = [memoryview(os.urandom(size)) for size in sizes]
    for _ in range(2):
        assert (await put(links, store.url, blocks)).status == 200
    assert store.bodies == [b"".join(blocks)] * 2
    assert store.connections == 1
    assert store.heads[0].startswith(b"PUT /lake/a%2Bb?partNumber=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nx-sum: 1\r\n" in store.heads[0]


async def test_a_kept_connection_that_the_store_has_closed_costs_nothing(store: Store, links: PartLinks) -> None:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await store.read(reader)
        writer.write(DONE)

    store.handle = one
    for _ in range(3):
        assert (await put(links, store.url, [memoryview(b"body")])).status == 200
    assert store.bodies == [b"body"] * 3


async def test_a_kept_connection_that_breaks_without_a_word_is_tried_once_more_anew(store: Store, links: PartLinks) -> None:
    async def second_breaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await store.read(reader)
        writer.write(DONE)
        await reader.read(1000)
        writer.transport.abort()

    store.handle = second_breaks
    for _ in range(2):
        assert (await put(links, store.url, [memoryview(bytes(1 << 20))])).status == 200
    assert store.connections == 2


async def test_a_store_that_hangs_up_in_the_middle_is_an_error_and_the_descriptor_is_closed(store: Store, links: PartLinks) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.transport.abort()

    store.handle, before = hang_up, descriptors()
    with pytest.raises(OSError):
        await put(links, store.url, [memoryview(bytes(30 << 20))])
    await asyncio.sleep(0)
    assert store.connections == 1
    assert descriptors() <= before + 1  # the store's end of it may still be there


async def test_an_answer_before_all_is_sent_counts_and_the_connection_is_not_used_again(store: Store, links: PartLinks) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    store.handle = refuse
    answer = await put(links, store.url, [memoryview(bytes(30 << 20))])
    assert (answer.status, answer.body) == (403, b"no")
    store.handle = store.take
    assert (await put(links, store.url, [memoryview(b"x")])).status == 200
    assert store.connections == 2


async def test_what_is_no_answer_is_told_as_such(store: Store, links: PartLinks) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await store.read(reader)
        writer.write(b"hello\r\n\r\n")
        await reader.read()

    store.handle = babble
    with pytest.raises(NotHttp):
        await put(links, store.url, [memoryview(b"x")])


async def test_a_body_that_nobody_takes_and_an_answer_that_does_not_come_are_given_up(store: Store, links: PartLinks) -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await asyncio.Event().wait()

    store.handle = ignore
    block = bytearray(30 << 20)
    view = memoryview(block)
    with pytest.raises(TimeoutError):
        await put(links, store.url, [view], timeouts=Timeouts(stall=0.2))
    view.release()
    block.append(1)  # nothing holds the block any more
    with pytest.raises(TimeoutError):
        await put(links, store.url, [memoryview(b"x")], answer_s=0.2)


async def test_nobody_there_names_the_address(links: PartLinks) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(NoConnection, match=f"no connection to 127.0.0.1:{port}: Connection refused"):
        await put(links, f"http://127.0.0.1:{port}/x?y=z", [memoryview(b"x")])
    with pytest.raises(NoConnection, match="cannot be resolved"):
        await put(links, "http://no.such.host.invalid/x?y=z", [memoryview(b"x")])
