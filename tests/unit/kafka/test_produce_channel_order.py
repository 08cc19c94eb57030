"""Outcomes of one connection are told in the order of its requests, whatever order their answers are noticed in: a task for each answer
could run before its elder, and a partition's batches would land out of order in our books."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import Any, cast

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.messages import Api
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.types import TopicPartition
from tests.support.waiting import eventually

TP = TopicPartition("orders", 0)
VERSION = 7


class Answering:
    """A connection whose answers the test gives, in any order."""

    closed = False

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[memoryview]] = []
        self.may_send = asyncio.Event()
        self.may_send.set()

    @property
    def is_ready(self) -> bool:
        return self.may_send.is_set()

    def version(self, api: Api) -> int:
        return VERSION

    async def ready(self) -> None:
        await self.may_send.wait()

    def send(self, api: Api, version: int, parts: Sequence[Any]) -> asyncio.Future[memoryview]:
        answer: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        return answer

    def throttle(self, seconds: float) -> None:
        assert seconds == 0

    def close(self) -> None:
        self.closed = True


class OneBroker:
    """A cluster with that connection."""

    clock = staticmethod(time.monotonic)

    def __init__(self, connection: Answering) -> None:
        self._connection = connection

    async def dial(self, node_id: int) -> Answering:
        return self._connection


def stored_at(offset: int) -> memoryview:
    """A broker's answer: the batch of the partition is stored at `offset`."""
    topic = struct.pack(">h6s", 6, b"orders")
    partition = struct.pack(">ihqqq", 0, 0, offset, -1, 0)
    return memoryview(struct.pack(">i", 1) + topic + struct.pack(">i", 1) + partition + struct.pack(">i", 0))


async def rounds_of_the_loop() -> None:
    """Whatever is due by now has been done."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_that_is_there_first_is_told_in_its_turn() -> None:
    connection, told = Answering(), list[Outcome]()
    batches = [OutgoingBatch(b"batch") for _ in range(4)]
    channel = ProduceChannel(cast(Cluster, OneBroker(connection)), 1, ProduceOptions(), told.extend)
    running = asyncio.create_task(channel.run())
    channel.put(TP, [batches[0]])
    await eventually(lambda: len(connection.asked) == 1)
    connection.asked[0].set_result(stored_at(0))
    for number in (1, 2, 3):
        channel.put(TP, [batches[number]])
    await eventually(lambda: len(connection.asked) == 4)
    for number in (3, 2):
        connection.asked[number].set_result(stored_at(number))
    await rounds_of_the_loop()
    assert [outcome.batch for outcome in told] == batches[:1]
    connection.asked[1].set_result(stored_at(1))
    await eventually(lambda: len(told) == 4)
    assert [outcome.batch for outcome in told] == batches
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert connection.closed


async def test_a_channel_that_is_cleared_sends_nothing_more_and_hears_every_answer_first() -> None:
    """Two requests are on their way when it is told, one batch waits for a place."""
    connection, told = Answering(), list[Outcome]()
    first, second, waiting, later = (OutgoingBatch(name.encode()) for name in ("first", "second", "waiting", "later"))
    options = ProduceOptions(most_in_flight=2)
    channel = ProduceChannel(cast(Cluster, OneBroker(connection)), 1, options, told.extend)
    running = asyncio.create_task(channel.run())
    channel.put(TP, [first])
    await eventually(lambda: len(connection.asked) == 1)
    connection.asked[0].set_result(stored_at(0))
    await eventually(lambda: len(told) == 1)
    channel.put(TP, [second, first, waiting])
    await eventually(lambda: len(connection.asked) == 3)

    clearing = asyncio.create_task(channel.clear())
    connection.asked[1].set_result(stored_at(1))
    await eventually(lambda: len(told) == 2)
    assert not clearing.done()
    connection.asked[2].set_result(stored_at(2))
    await clearing
    assert [outcome.batch for outcome in told] == [first, second, first] and channel.unanswered(TP) == 0

    channel.put(TP, [later])
    await eventually(lambda: len(connection.asked) == 4)
    connection.asked[3].set_result(stored_at(3))
    await eventually(lambda: [outcome.batch for outcome in told][3:] == [later])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_goes_out_while_the_connection_may_not_be_sent_on() -> None:
    """The broker has muted it, or its login is due: what is on its way is heard, what is put meanwhile goes out afterwards."""
    connection, told = Answering(), list[Outcome]()
    batches = [OutgoingBatch(b"batch") for _ in range(3)]
    channel = ProduceChannel(cast(Cluster, OneBroker(connection)), 1, ProduceOptions(), told.extend)
    running = asyncio.create_task(channel.run())
    channel.put(TP, batches[:1])
    await eventually(lambda: len(connection.asked) == 1)
    connection.may_send.clear()
    channel.put(TP, batches[1:])
    connection.asked[0].set_result(stored_at(0))
    await rounds_of_the_loop()
    assert [outcome.batch for outcome in told] == batches[:1] and len(connection.asked) == 1
    connection.may_send.set()
    await eventually(lambda: len(connection.asked) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
