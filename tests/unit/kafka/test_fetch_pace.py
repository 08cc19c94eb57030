"""How often a connection asks: seldom for thousands of slow partitions, at once while a broker has more than fits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.fetch_types import Admission
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.encode import Frame, Record, batch

VERSION = 12
PATIENT = FetchOptions(
    min_bytes=1 << 18, connections_per_leader=1, most_fetches_per_s=50, longest_pace_s=2.0, small_answer=4 << 20, max_bytes=4 << 20
)


class Plenty:
    """Memory for everything."""

    async def acquire(self, nbytes: int) -> None: ...
    def overdraw(self, nbytes: int) -> None: ...
    def release(self, nbytes: int) -> None: ...


class Broker:
    """Answers each request with one record of so many bytes; notes what was asked, and how long the channel slept before."""

    closed = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *sizes: int) -> None:
        self.sizes = list(sizes)
        self.asked: list[Any] = []
        self.pauses: list[float] = []
        self._all_asked = asyncio.Event()
        monkeypatch.setattr("smartconnect.kafka.fetch_channel.asyncio.sleep", self._sleep)

    async def fetched(self, partitions: int, options: FetchOptions) -> None:
        cluster = SimpleNamespace(clock=lambda: 1000.0, timing=Timing(), rack="", dial=self._dial)
        async with Fetcher(cast(Cluster, cluster), options, cast(Admission, Plenty())) as fetcher:
            for number in range(partitions):
                state = PartitionState(TopicPartition("orders", number), 0, -1)
                fetcher._states[state.tp] = state
                fetcher.place(state, node_id=1)
            for _ in tuple(self.sizes):
                frame = await fetcher.next(10)
                assert frame is not None
                frame.release()
            async with asyncio.timeout(10):
                await self._all_asked.wait()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def _dial(self, node_id: int) -> Broker:
        return self

    def close(self) -> None: ...
    def throttle(self, seconds: float) -> None: ...
    def version(self, api: object) -> int:
        return VERSION

    async def exchange(self, api: object, version: int, parts: Sequence[bytes], *, timeout_s: float) -> memoryview:
        if not self.sizes:
            self._all_asked.set()
            await asyncio.Event().wait()
        self.asked.append(FetchRequest.decode(bytes(parts[0]), version=VERSION))
        records = batch([Record(0, b"x" * self.sizes.pop(0))], Frame())
        topic = FetchResponse.FetchableTopicResponse
        partition = topic.PartitionData(partition_index=0, high_watermark=1, last_stable_offset=1, records=records)
        answer = FetchResponse(session_id=7, responses=[topic(topic="orders", partitions=[partition])])
        return memoryview(answer.encode(version=VERSION))


@pytest.mark.parametrize(("partitions", "pause_s"), [(1, 0.02), (50, 0.02), (500, 0.2), (5000, 2.0), (6000, 2.0)])
async def test_the_more_partitions_the_longer_between_small_answers(
    monkeypatch: pytest.MonkeyPatch, partitions: int, pause_s: float
) -> None:
    broker = Broker(monkeypatch, 100, 100)
    await broker.fetched(partitions, PATIENT)
    assert broker.pauses[0] == pytest.approx(pause_s)
    assert {asked.min_bytes for asked in broker.asked} == {1 if pause_s > 0.1 else PATIENT.min_bytes}


async def test_who_is_not_patient_waits_a_moment_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch, 100, 100)
    await broker.fetched(5000, FetchOptions(connections_per_leader=1))
    assert broker.pauses[0] == pytest.approx(0.02)


async def test_a_broker_that_has_more_than_fits_is_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch, *[200 << 10] * 2)
    await broker.fetched(5000, PATIENT)
    assert broker.pauses[0] == pytest.approx(2.0)  # after the second, which does not fill half of the larger window
    assert [asked.max_bytes for asked in broker.asked] == [256 << 10, 512 << 10]
    assert len(broker.pauses) == 1
