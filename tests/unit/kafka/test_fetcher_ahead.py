"""A fetcher whose caller is slow, or waits: frames do not pile up, and what else there is to do is not kept waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.fetch_types import Frame
from smartconnect.kafka.fetcher import FRAMES_AHEAD, Fetcher, FetchOptions
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import TopicPartition


class AskedAdmission:
    """Notes that a request is about to be sent, and holds it for ever."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def acquire(self, nbytes: int) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    def overdraw(self, nbytes: int) -> None:
        raise AssertionError("nothing came")

    def release(self, nbytes: int) -> None:
        """What the frames held."""


async def test_nothing_more_is_asked_for_while_enough_frames_wait_for_the_caller() -> None:
    admission = AskedAdmission()
    cluster = cast(Cluster, SimpleNamespace(clock=lambda: 0.0, timing=Timing()))
    async with Fetcher(cluster, FetchOptions(connections_per_leader=1), admission) as fetcher:
        for _ in range(FRAMES_AHEAD):
            fetcher.deliver(Frame([], 1000, admission))
        fetcher.place(PartitionState(TopicPartition("orders", 3), 0, -1), node_id=1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not admission.asked.is_set()
        await fetcher.next(0)
        async with asyncio.timeout(5):
            await admission.asked.wait()


async def test_a_caller_that_waits_can_be_interrupted() -> None:
    admission = AskedAdmission()
    cluster = cast(Cluster, SimpleNamespace(clock=lambda: 0.0, timing=Timing()))
    async with Fetcher(cluster, FetchOptions(), admission) as fetcher, asyncio.timeout(5):
        waiting = asyncio.ensure_future(fetcher.next(60))
        await asyncio.sleep(0)
        fetcher.interrupt()
        assert await waiting is None
        fetcher.interrupt()
        assert await fetcher.next(60) is None
        assert await fetcher.next(0.01) is None
