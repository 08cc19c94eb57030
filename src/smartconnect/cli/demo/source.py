"""What the demo writes to Kafka: numbered records in batches, and now and then a transaction that is aborted, whose records nobody may see.
Written with the product's own client, so that the demo needs nothing else. Value *n* of a partition is a pure function of its number: the
check computes what must be in the bucket instead of remembering it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from smartconnect.domain.errors import SmartConnectError
from smartconnect.kafka.admin import NewTopic, create_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.kernels.encode import Frame, Record, batch

TOPICS: Final = {"orders": 4, "clicks": 2}
PARTITIONS: Final = tuple(TopicPartition(topic, number) for topic, count in TOPICS.items() for number in range(count))

_ITEMS: Final = ("tea", "coffee", "bread", "apples", "cheese", "honey", "olives", "rice")
_BATCH: Final = 500
_EVERY_S: Final = 0.25
_ABORTED_RECORDS: Final = 50
_TRANSACTIONAL_ID: Final = "smartconnect-demo-source"


class DemoFailed(SmartConnectError):
    """The demo cannot go on; the sentence says at which step."""

    code = "demo_failed"


def value(tp: TopicPartition, sequence: int) -> bytes:
    """Record `sequence` (0, 1, 2 …) of a partition."""
    item = _ITEMS[(sequence * 7 + tp.partition) % len(_ITEMS)]
    return b'{"id":"%s-%d-%09d","item":"%s","cents":%d}' % (
        tp.topic.encode(),
        tp.partition,
        sequence,
        item.encode(),
        sequence * 37 % 9973,
    )


@dataclass(slots=True)
class Written:
    """What Kafka has acknowledged. `by_partition` are committed records, which must all arrive; `aborted` must not."""

    by_partition: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(PARTITIONS, 0))
    aborted: int = 0

    @property
    def records(self) -> int:
        return sum(self.by_partition.values())


class Source:
    """Made by `open_source`; for one task at a time."""

    def __init__(self, plain: ProduceChannel, transactional: ProduceChannel, txn: TransactionalId, answers: _Answers) -> None:
        self._plain, self._transactional, self._txn, self._answers = plain, transactional, txn, answers
        self._txn_sequence = dict.fromkeys(PARTITIONS, 0)
        self._rounds = 0
        self.written = Written()

    async def write(self, records: int) -> None:
        """So many records, spread over all partitions; acknowledged when this returns."""
        for _ in range(max(1, records // (_BATCH * len(PARTITIONS)))):
            await self._round()

    async def flow(self, enough: asyncio.Event) -> None:
        """Write until `enough` is set; the last round is acknowledged when this returns."""
        while not enough.is_set():
            started = time.monotonic()
            await self._round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), max(0.0, _EVERY_S - (time.monotonic() - started)))

    async def _round(self) -> None:
        """One batch for each partition; every tenth round an aborted transaction beside it."""
        batches = await asyncio.to_thread(self._batches)
        await self._send(self._plain, batches)
        for tp in PARTITIONS:
            self.written.by_partition[tp] += _BATCH
        self._rounds += 1
        if self._rounds % 10 == 0:
            await self._abort_some(PARTITIONS[self._rounds // 10 % len(PARTITIONS)])

    def _batches(self) -> dict[TopicPartition, bytes]:
        now = time.time_ns() // 1_000_000
        return {
            tp: batch([Record(n, value(tp, first + n), timestamp=now) for n in range(_BATCH)], Frame(codec=Codec.LZ4))
            for tp, first in self.written.by_partition.items()
        }

    async def _abort_some(self, tp: TopicPartition) -> None:
        now = time.time_ns() // 1_000_000
        records = [Record(n, b'{"id":"aborted-%d"}' % n, timestamp=now) for n in range(_ABORTED_RECORDS)]
        frame = Frame(
            producer_id=self._txn.producer_id,
            producer_epoch=self._txn.epoch,
            base_sequence=self._txn_sequence[tp],
            attributes=TRANSACTIONAL,
        )
        await self._txn.add_partitions([tp])
        await self._send(self._transactional, {tp: batch(records, frame)})
        await self._txn.end(commit=False)
        self._txn_sequence[tp] += _ABORTED_RECORDS
        self.written.aborted += _ABORTED_RECORDS

    async def _send(self, channel: ProduceChannel, batches: dict[TopicPartition, bytes]) -> None:
        waits = [self._answers.expect(channel, tp, records) for tp, records in batches.items()]
        for outcome in await asyncio.gather(*waits):
            if not outcome.stored:
                raise DemoFailed(f"Kafka did not store a batch of {outcome.tp}: {outcome.lost or outcome.refused}")


class _Answers:
    """From the channels' reports to futures."""

    def __init__(self) -> None:
        self._waiting: dict[OutgoingBatch, asyncio.Future[Outcome]] = {}

    def expect(self, channel: ProduceChannel, tp: TopicPartition, records: bytes) -> asyncio.Future[Outcome]:
        batch = OutgoingBatch(records)
        waiting = self._waiting[batch] = asyncio.get_running_loop().create_future()
        channel.put(tp, [batch])
        return waiting

    def report(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            waiting = self._waiting.pop(outcome.batch)
            if not waiting.done():
                waiting.set_result(outcome)


@contextlib.asynccontextmanager
async def open_source(cluster: Cluster) -> AsyncIterator[Source]:
    """Make the topics and everything to write to them (the demo's cluster has one node)."""
    await _make_topics(cluster)
    node_id = next(iter((await cluster.leaders_of(PARTITIONS)).values()))[0]
    answers = _Answers()
    plain = ProduceChannel(cluster, node_id, ProduceOptions(), answers.report)
    transactional = ProduceChannel(cluster, node_id, ProduceOptions(transactional_id=_TRANSACTIONAL_ID), answers.report)
    txn = TransactionalId(cluster, _TRANSACTIONAL_ID)
    await txn.initialise()
    running = [asyncio.create_task(channel.run()) for channel in (plain, transactional)]
    try:
        yield Source(plain, transactional, txn, answers)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def _make_topics(cluster: Cluster) -> None:
    refused = await create_topics(cluster, [NewTopic(name, partitions) for name, partitions in TOPICS.items()])
    for name, reason in refused.items():
        if reason is not None:
            raise DemoFailed(f"topic {name} cannot be made: {reason}")
    async with asyncio.timeout(30):
        while len(await cluster.leaders_of(PARTITIONS)) < len(PARTITIONS):
            cluster.leaders.invalidate(TOPICS)
            await asyncio.sleep(0.05)
