"""A part's body leaves whole and in order, however the blocks are cut and however little the socket takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.objectstore.body import BlockBody, Blocks, _Rest


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 5), st.data())
def test_windows_cover_all_bytes_once_and_in_order(blocks: list[bytes], count: int, data: st.DataObject) -> None:
    rest, seen = blocks_of(blocks), b""
    while rest.nbytes:
        window = rest.window(count)
        assert 0 < len(window) <= count
        offered = b"".join(window)
        taken = data.draw(st.integers(min(1, len(offered)), len(offered)))
        seen += offered[:taken]
        rest.advance(taken)
    assert seen == b"".join(blocks)
    assert rest.nbytes == 0


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 50))
def test_pieces_cover_all_bytes_once_and_in_order(blocks: list[bytes], limit: int) -> None:
    rest, seen = blocks_of(blocks), b""
    while rest.nbytes:
        piece = rest.piece(limit)
        assert len(piece) <= limit
        seen += piece
        rest.advance(len(piece))
    assert seen == b"".join(blocks)


def blocks_of(blocks: list[bytes]) -> _Rest:
    return _Rest(Blocks([memoryview(block) for block in blocks]))


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """A server that reads with pauses (so that the sender's socket is full) and answers with what it got."""

    async def handle(request: web.Request) -> web.Response:
        got = bytearray()
        async for chunk in request.content.iter_chunked(100_000):
            got += chunk
            await asyncio.sleep(0)
        return web.Response(body=bytes(got))

    app = web.Application(client_max_size=1 << 30)
    app.router.add_put("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.mark.parametrize("sizes", [[0], [1], [65536] * 100 + [7], [20 << 20], [3, 0, 0, 5 << 20, 1]])
async def test_the_server_gets_exactly_the_blocks(echo: str, sizes: list[int]) -> None:
    blocks = [memoryview(os.urandom(size)) for size in sizes]
    left: list[int] = []
    body = BlockBody(Blocks(blocks), left.append)
    assert body.size == sum(sizes)
    async with aiohttp.ClientSession() as session:
        for _ in range(2):  # once more on the same connection: nothing of the first request may be in its way
            async with session.put(echo, data=body) as answer:
                assert await answer.read() == b"".join(blocks)
            assert left == sorted(left, reverse=True)
            assert left[-1:] == ([0] if body.size else [])
            left.clear()


async def test_a_server_that_hangs_up_in_the_middle_is_an_error_and_the_descriptor_is_closed(echo: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = descriptors()
    async with server, aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, OSError)):
            await session.put(f"http://127.0.0.1:{port}/", data=BlockBody(Blocks([memoryview(bytes(30 << 20))]), lambda _: None))
    await asyncio.sleep(0)
    assert descriptors() <= before
