"""The lines between parent and child: round trips, strangers, and the child's end of a real socket pair."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.engine.link import ParentLink
from smartconnect.engine.protocol import (
    VERSION,
    Assign,
    Fleet,
    Heartbeat,
    Hello,
    Message,
    Nudge,
    ProcessState,
    ProtocolError,
    Released,
    Reload,
    Stop,
    decode,
    encode,
)

SAMPLE = ["smartconnect_units", ["running"], 2.0]
STATE = ProcessState("worker-0", 7, alive=True, starts=2, buckets=1, meters=[SAMPLE], settings="abc", trouble="")
MESSAGES: list[Message] = [
    Hello(4711),
    Heartbeat([SAMPLE], "hash", "registry away"),
    Released([0, 2]),
    Nudge(),
    Assign([1], 2),
    Reload(),
    Stop(40.0),
    Fleet([STATE]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_survives_the_pipe_as_one_line(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["v"] == VERSION
    assert decode(line) == message


def test_unknown_kind_and_unknown_field_are_ignored() -> None:
    assert decode(b'{"v":1,"t":"from-the-future"}') is None
    assert decode(b'{"v":1,"t":"assign","buckets":[],"of":2,"more":1}') == Assign([], 2)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'{"v":2,"t":"nudge"}',
        b'{"t":"nudge"}',
        b'{"v":1,"t":"assign"}',
        b'{"v":1,"t":"hello"}',
        b"\xff\xfe",
    ],
)
def test_line_of_another_protocol_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_a_protocol_error(line: bytes) -> None:
    try:
        decode(line)
    except ProtocolError as error:
        assert str(error)


class _Parent:
    """The other end of a child's link."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.heard: list[Message] = []
        self.link = ParentLink(theirs.detach(), handle=self.heard.append, heartbeat=lambda: Heartbeat([SAMPLE]))
        self.running = asyncio.create_task(self.link.run())

    async def read(self) -> list[Message | None]:
        data = await asyncio.get_running_loop().sock_recv(self.ours, 65536)
        return [decode(line) for line in data.splitlines()]

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.ours, data)


async def test_child_says_hello_then_beats_and_hears_the_parent() -> None:
    parent = _Parent()
    first = await parent.read()
    assert isinstance(first[0], Hello)
    beats = first[1:] or await parent.read()
    assert beats[0] == Heartbeat([SAMPLE])
    await parent.write(encode(Assign([0], 2))[:10])
    await parent.write(encode(Assign([0], 2))[10:] + encode(Nudge()))
    parent.ours.close()
    async with asyncio.timeout(5):
        await parent.running
    assert parent.heard == [Assign([0], 2), Nudge()]


async def test_link_ends_when_the_parent_is_gone_even_in_the_middle_of_a_line() -> None:
    parent = _Parent()
    await parent.read()
    await parent.write(b'{"v":1,"t":"nu')
    parent.ours.close()
    async with asyncio.timeout(5):
        await parent.running
    assert parent.heard == []
    parent.link.send(Nudge())  # nobody is there any more: dropped, not raised


async def test_stranger_on_the_pipe_is_an_error() -> None:
    parent = _Parent()
    await parent.read()
    await parent.write(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ProtocolError):
        async with asyncio.timeout(5):
            await parent.running
    parent.ours.close()
