"""One connection against a peer that plays its part byte by byte: order, timeouts, lies, and bytes that are not copied."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.wire import Wire


class Peer:
    """The other end of the wire."""

    def __init__(self, wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.wire, self.reader, self.writer = wire, reader, writer

    async def frame(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        return await self.reader.readexactly(size)

    def answer(self, correlation: int, body: bytes) -> None:
        self.writer.write((4 + len(body)).to_bytes(4, "big") + correlation.to_bytes(4, "big") + body)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire("the peer"), sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 24)
    yield Peer(wire, reader, writer)
    wire.close()
    writer.close()
    await wire.wait_closed()


def request(body: bytes) -> list[bytes]:
    return [len(body).to_bytes(4, "big"), body]


async def test_answers_belong_to_requests_in_order(peer: Peer) -> None:
    answers = [peer.wire.submit(number, request(b"%d" % number), 5.0) for number in range(3)]
    for number in range(3):
        assert await peer.frame() == b"%d" % number
    for number in range(3):
        peer.answer(number, b"answer %d" % number)
    assert [bytes(await answer) for answer in answers] == [b"answer 0", b"answer 1", b"answer 2"]
    assert peer.wire.in_flight == 0


async def test_of_a_large_frame_much_is_read_at_a_time_and_small_ones_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    taken_in = Wire.buffer_updated

    def counted(wire: Wire, nbytes: int) -> None:
        reads.append(nbytes)
        taken_in(wire, nbytes)

    monkeypatch.setattr(Wire, "buffer_updated", counted)
    sizes = [8 << 20, 10, 3 << 20, 100_000, 5]

    def serve(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number, size in enumerate(sizes):
                peer.sendall((4 + size).to_bytes(4, "big") + number.to_bytes(4, "big"))
                for begin in range(0, size, 1 << 14):
                    peer.sendall(bytes(min(1 << 14, size - begin)))
            while peer.recv(1 << 16):  # what is not read would reset the connection
                continue

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(asyncio.to_thread(serve, listening))
        host, port = listening.getsockname()
        _, wire = await asyncio.get_running_loop().create_connection(lambda: Wire("the peer"), host, port)
        wire.allow_frames(16 << 20)
        answers = [wire.submit(number, request(b"x"), 30.0) for number in range(len(sizes))]
        assert [len(await answer) for answer in answers] == sizes
        assert len(reads) <= 11 + 4 * len(sizes)
        wire.close()
        await serving


async def test_late_answer_ends_the_connection_and_every_request_on_it(peer: Peer) -> None:
    answers = [peer.wire.submit(number, request(b"x"), timeout) for number, timeout in enumerate((60.0, 0.05, 60.0))]
    for answer in answers:
        with pytest.raises(ConnectionLost, match="the peer does not answer in time"):
            await answer
    assert peer.wire.closed
    with pytest.raises(ConnectionLost):
        peer.wire.submit(9, request(b"x"), 1.0)


@pytest.mark.parametrize("reply", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x04\0\0\0\x63", b"HTTP/1.1 400 Bad"])
async def test_peer_that_does_not_speak_kafka_is_left(peer: Peer, reply: bytes) -> None:
    answer = peer.wire.submit(1, request(b"x"), 5.0)
    peer.writer.write(reply)
    with pytest.raises(ConnectionLost, match="does not speak Kafka"):
        await answer


async def test_answer_that_nobody_asked_for_ends_the_connection(peer: Peer) -> None:
    peer.answer(1, b"hello")
    assert await peer.reader.read() == b""
    assert peer.wire.closed


async def test_closed_connection_fails_what_waits(peer: Peer) -> None:
    answer = peer.wire.submit(1, request(b"x"), 5.0)
    peer.writer.close()
    with pytest.raises(ConnectionLost, match="closed the connection"):
        await answer


async def test_answer_whose_caller_is_gone_disturbs_nobody(peer: Peer) -> None:
    first, second = (peer.wire.submit(number, request(b"x"), 5.0) for number in (1, 2))
    first.cancel()
    peer.answer(1, b"one")
    peer.answer(2, b"two")
    assert bytes(await second) == b"two"


async def test_frame_beyond_the_limit_before_login_is_refused_and_allowed_after(peer: Peer) -> None:
    peer.wire.allow_frames(8 << 20)
    answer = peer.wire.submit(1, request(b"x"), 5.0)
    body = bytes(2 << 20)
    peer.answer(1, body)
    assert await answer == body


async def test_large_requests_arrive_whole_and_in_order_through_a_full_socket(peer: Peer) -> None:
    parts = [bytes([number]) * (700_000 + number) for number in range(12)]
    head = sum(map(len, parts)).to_bytes(4, "big")
    first = peer.wire.submit(1, [head, *parts], 30.0)
    second = peer.wire.submit(2, request(b"behind"), 30.0)
    await asyncio.sleep(0)
    assert await peer.frame() == b"".join(parts)
    assert await peer.frame() == b"behind"
    peer.answer(1, b"a")
    peer.answer(2, b"b")
    assert (bytes(await first), bytes(await second)) == (b"a", b"b")


async def test_parts_are_sent_from_where_they_lie(peer: Peer) -> None:
    part = bytearray(6_000_000)
    peer.wire.submit(1, [len(part).to_bytes(4, "big"), part], 30.0)
    part[-1] = 7
    assert (await peer.frame())[-1] == 7
