"""What a refused fetch does to the partitions of its topic (kafka-replication.md §10)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from smartconnect.jobs.kafka_replication import rests
from smartconnect.jobs.kafka_replication.gaps import Gaps
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.position_store import Positions
from smartconnect.jobs.kafka_replication.roster import Known, Roster
from smartconnect.jobs.kafka_replication.topic_view import Link, Seen
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition
from smartconnect.kafka.types import TopicPartition
from tests.support.replication_unit import MemoryLedger, spec_of


class Bench:
    """Two partitions of "orders" and one of "other", all of them fetched; `dropped` are fetched no longer."""

    def __init__(self) -> None:
        self.ledger, self.now, self.dropped = MemoryLedger(), 0.0, list[TopicPartition]()
        clock = SimpleNamespace(now_ms=lambda: 0, monotonic=lambda: self.now)
        context = SimpleNamespace(ledger=self.ledger)
        inc: Any = SimpleNamespace(context=context, clock=clock, spec=spec_of("unused:1", ["orders"]), counters={})
        tps = [TopicPartition("orders", 0), TopicPartition("orders", 1), TopicPartition("other", 0)]
        self.links = {tp: Link(tp, tp, None, None) for tp in tps}
        self.roster = Roster(inc, Known(Positions(), dict.fromkeys(tps, 0), {}))
        fetcher: Any = SimpleNamespace(drop=self.dropped.append)
        self.gaps = Gaps(inc, self.roster, fetcher, lambda partition: None)

    async def fetches_all(self) -> list[Partition]:
        await self.roster.take(Seen(links=self.links))
        partitions = list(self.roster.partitions.values())
        for partition in partitions:
            partition.fetching = True
        return partitions

    async def refused(self, partition: Partition) -> None:
        code = KafkaCode.TOPIC_AUTHORIZATION_FAILED
        await self.gaps.handle(partition, FetchedPartition(partition.tp, 0, 0, code, 0, 0, 0, [], memoryview(b"")))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_topic_that_may_not_be_read_rests_whole_and_is_told_once(bench: Bench) -> None:
    """Its partitions are fetched over connections of their own: one of them may be refused while another is already tried again."""
    first, second, other = await bench.fetches_all()
    await bench.refused(first)
    assert [partition.blocked is not None for partition in (first, second, other)] == [True, True, False]
    assert bench.dropped == [first.tp, second.tp]
    assert first.retry_at == second.retry_at == 30
    bench.now = 30.0
    for partition in (first, second):
        rests.end(partition, bench.now, None)
        partition.fetching = True
    await bench.refused(second)
    assert first.retry_at == second.retry_at == 90
    assert bench.ledger.codes == ["permission_missing"]


async def test_a_second_refusal_of_a_topic_is_told_although_some_of_its_partitions_had_no_records_meanwhile(bench: Bench) -> None:
    first, second, _ = await bench.fetches_all()
    await bench.refused(first)
    for partition in (first, second):
        rests.end(partition, 30.0, None)
        partition.fetching = True
    second.told = None  # as when a record of it has landed
    await bench.refused(first)
    assert bench.ledger.codes == ["permission_missing"] * 2
