"""Idle partitions without a session: the same question again is not made anew, an answer that says the same is not taken apart again, and
nothing that happens meanwhile is missed."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse

from smartconnect.kafka import fetch_channel
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetch_channel import FetchChannel
from smartconnect.kafka.fetch_echo import Echo, Shape, throttle_ms
from smartconnect.kafka.fetch_types import FetchOptions, Frame
from smartconnect.kafka.messages import Api
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import TopicPartition

VERSION = 12
NODE = 1
SHAPE = Shape(VERSION, 2000, 1, 1 << 20)
TopicPart = FetchResponse.FetchableTopicResponse
PartitionPart = TopicPart.PartitionData
BATCH = struct.pack(">qiibIhiqqqhii", 5, 49, 0, 2, 0, 0, 0, 0, 0, -1, -1, -1, 1)


class Endless:
    """Room for everything."""

    async def acquire(self, nbytes: int) -> None:
        """At once."""

    def overdraw(self, nbytes: int) -> None:
        """Not counted."""

    def release(self, nbytes: int) -> None:
        """Not counted."""


class Owner:
    """A fetcher as its channel sees it, the broker that the channel asks, and the connection to it: one answer for each `answer`."""

    def __init__(self) -> None:
        self.paused, self.closed = 0, False
        self.states: dict[TopicPartition, PartitionState] = {}
        self.frames: list[Frame] = []
        self.left: list[TopicPartition] = []
        self.requests: list[bytes] = []
        self.now = 0.0
        self._asked: asyncio.Queue[bytes] = asyncio.Queue()
        self._answers: asyncio.Queue[memoryview] = asyncio.Queue()
        cluster = SimpleNamespace(clock=lambda: self.now, timing=Timing(), rack="", dial=self._dial)
        options = FetchOptions(connections_per_leader=1, most_fetches_per_s=1_000_000)
        self.channel = FetchChannel(NODE, self, cast(Cluster, cluster), options, Endless())

    def add(self, number: int) -> PartitionState:
        state = self.states[TopicPartition("t", number)] = PartitionState(TopicPartition("t", number), 5, -1)
        self.channel.add(state)
        return state

    async def asked(self) -> list[int]:
        """The partitions of the next request."""
        raw = await asyncio.wait_for(self._asked.get(), 5)
        self.requests.append(raw)
        return [part.partition for topic in FetchRequest.decode(raw, version=VERSION).topics for part in topic.partitions]

    def answer(self, records: bytes = b"", **fields: Any) -> None:
        parts = [PartitionPart(partition_index=tp.partition, high_watermark=5, last_stable_offset=5) for tp in self.states]
        parts[0].records = records
        for name, value in fields.items():
            setattr(parts[0], name, value)
        answer = FetchResponse(throttle_time_ms=len(self.requests), responses=[TopicPart(topic="t", partitions=parts)])
        self._answers.put_nowait(memoryview(answer.encode(version=VERSION)))

    # What the channel calls

    def state(self, tp: TopicPartition) -> PartitionState | None:
        return self.states.get(tp)

    def regroup(self, channel: object) -> None: ...

    async def hungry(self) -> None:
        """Always."""

    def deliver(self, frame: Frame) -> None:
        self.frames.append(frame)

    def homeless(self, states: Sequence[PartitionState], code: KafkaCode) -> None:
        self.left += [state.tp for state in states]

    def trouble(self, node_id: int, error: Exception | None) -> None:
        assert error is None

    async def _dial(self, node_id: int) -> Owner:
        return self

    def version(self, api: Api) -> int:
        return VERSION

    def throttle(self, seconds: float) -> None:
        """Not obeyed."""

    def close(self) -> None:
        self.closed = True

    async def exchange(self, api: Api, version: int, parts: Sequence[bytes], *, timeout_s: float) -> memoryview:
        self._asked.put_nowait(b"".join(parts))
        return await self._answers.get()


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    owner = Owner()
    running = asyncio.create_task(owner.channel.run())
    yield owner
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def idle(owner: Owner) -> None:
    """Two partitions that bring nothing, until the same is asked again."""
    owner.add(0), owner.add(1)
    for _ in range(3):
        assert await owner.asked() == [0, 1]
        owner.answer()
    assert await owner.asked() == [0, 1]
    assert owner.requests[-1] == owner.requests[-2]


async def test_an_answer_that_says_the_same_is_not_taken_apart_again(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    await idle(owner)
    monkeypatch.delattr(fetch_channel, "decode_fetch")
    for _ in range(3):
        owner.answer()
        assert await owner.asked() == [0, 1]


async def test_the_first_record_is_delivered(owner: Owner) -> None:
    await idle(owner)
    owner.answer(BATCH)
    assert await owner.asked() == [1, 0]
    assert [part.tp.partition for frame in owner.frames for part in frame.partitions] == [0]
    assert owner.states[TopicPartition("t", 0)].offset == 6


async def test_a_high_watermark_without_records_is_seen(owner: Owner) -> None:
    await idle(owner)
    owner.answer(high_watermark=9)
    await owner.asked()
    assert owner.states[TopicPartition("t", 0)].high_watermark == 9


async def test_what_came_goes_or_moved_meanwhile_is_in_the_next_request(owner: Owner) -> None:
    await idle(owner)
    third = owner.add(2)
    owner.answer()
    assert await owner.asked() == [0, 1, 2]
    owner.channel.remove(third)
    owner.answer()
    assert await owner.asked() == [0, 1]
    moved = owner.states[TopicPartition("t", 1)]
    moved.move(3, -1)
    owner.channel.add(moved)
    owner.answer()
    await owner.asked()
    read = FetchRequest.decode(owner.requests[-1], version=VERSION)
    assert {part.partition: part.fetch_offset for part in read.topics[0].partitions} == {0: 5, 1: 3}


async def test_a_partition_that_has_failed_leaves(owner: Owner) -> None:
    await idle(owner)
    owner.answer(error_code=KafkaCode.NOT_LEADER_OR_FOLLOWER)
    assert await owner.asked() == [1]
    assert owner.left == [TopicPartition("t", 0)]


async def test_a_partition_fetched_from_a_follower_returns_to_its_leader_in_time(owner: Owner) -> None:
    first, _ = owner.add(0), owner.add(1)
    first.follower, first.follower_until = NODE, 300.0
    for _ in range(3):
        assert await owner.asked() == [0, 1]
        owner.answer()
    owner.now = 301.0
    await owner.asked()
    owner.answer()
    assert await owner.asked() == [1]
    assert owner.left == [TopicPartition("t", 0)]


def test_only_what_brought_nothing_is_known_again() -> None:
    echo, answer = Echo(), memoryview(b"\0\0\0\7the rest")
    assert echo.request(SHAPE) is None and not echo.again(answer)
    echo.asked(SHAPE, b"question")
    assert echo.request(SHAPE) == b"question" and not echo.again(answer)
    echo.heard(answer)
    assert echo.again(answer) and echo.again(memoryview(b"\0\0\1\0the rest")) and not echo.again(memoryview(b"\0\0\0\7the rust"))
    assert not echo.again(answer[:4]) and throttle_ms(answer) == 7
    assert echo.request(SHAPE._replace(wait_ms=500)) is None
    echo.asked(SHAPE, b"another")
    assert not echo.again(answer)
