"""The topics of MirrorMaker 2, written beside our own bookkeeping for those who use its client tools (`mm2_topics`, `heartbeats`;
kafka-replication.md §7).

Guarantees: records are in MirrorMaker's format and only written when they say something new; outside of transactions, at least once.
Nothing of ours depends on these topics: deleting one harms only those tools, it is made again with the next record. Called by the unit's
loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint, Heartbeat, OffsetSync
from smartconnect.kafka.admin import NewTopic, create_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused, refusal
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.encode import Frame, Record, batch

HEARTBEATS: Final = "heartbeats"
_DEFAULT_REPLICAS: Final = 3
_BATCH_BYTES: Final = 256 << 10
_SYNC_EVERY_MS: Final = 1000


def offset_syncs_topic(peer_alias: str) -> str:
    """On the current instance, whatever the direction."""
    return f"mm2-offset-syncs.{peer_alias}.internal"


def checkpoints_topic(source_alias: str) -> str:
    """On the target."""
    return f"{source_alias}.checkpoints.internal"


class Mm2Topic:
    """One such topic: one partition, compacted; made when it is first written to. `replication_factor` None: min(3, brokers)."""

    def __init__(self, cluster: Cluster, name: str, replication_factor: int | None) -> None:
        self.tp = TopicPartition(name, 0)
        self._cluster, self._replication_factor = cluster, replication_factor
        self._is_there = False

    async def write(self, records: Iterable[tuple[bytes, bytes]], now_ms: int) -> None:
        """Keys and values, in order. Raises what the cluster refuses."""
        for part in _batches(records, now_ms):
            if not self._is_there:
                await self._make()
            try:
                await produce_plain(self._cluster, self.tp, part)
            except BrokerRefused as refused:
                if refused.kafka_code is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                    raise
                await self._make()
                await produce_plain(self._cluster, self.tp, part)

    async def _make(self) -> None:
        metadata = await self._cluster.metadata([self.tp.topic])
        found = metadata.topics.get(self.tp.topic)
        if found is None or found.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            replicas = self._replication_factor or min(_DEFAULT_REPLICAS, len(metadata.brokers))
            topic = NewTopic(self.tp.topic, 1, replicas, {"cleanup.policy": "compact"})
            outcome = (await create_topics(self._cluster, [topic]))[topic.name]
            if outcome is not None and outcome.code is not KafkaCode.TOPIC_ALREADY_EXISTS:
                raise refusal(f"create the topic {topic.name}", outcome.code, outcome.message)
            await self._cluster.persist(self._led)
        self._is_there = True

    async def _led(self) -> None:
        """Brokers learn of a new topic a moment after it was made."""
        await self._cluster.metadata([self.tp.topic])
        if not await self._cluster.leaders_of([self.tp]):
            raise TryAgain(f"find the topic {self.tp.topic}", KafkaCode.LEADER_NOT_AVAILABLE)


class OffsetSyncs:
    """`noted` when a position has moved, `write` now and then: the newest pair of a partition goes out, at most once a second."""

    def __init__(self, topic: Mm2Topic) -> None:
        self._topic = topic
        self._newest: dict[TopicPartition, OffsetSync] = {}
        self._written: dict[TopicPartition, tuple[int, OffsetSync]] = {}

    def noted(self, sync: OffsetSync) -> None:
        self._newest[sync.source] = sync

    async def write(self, now_ms: int) -> None:
        due = [sync for sync in self._newest.values() if self._is_due(sync, now_ms)]
        if due:
            await self._topic.write(((sync.key(), sync.value()) for sync in due), now_ms)
            self._written |= {sync.source: (now_ms, sync) for sync in due}

    def _is_due(self, sync: OffsetSync, now_ms: int) -> bool:
        known = self._written.get(sync.source)
        return known is None or (sync != known[1] and now_ms - known[0] >= _SYNC_EVERY_MS)


class Checkpoints:
    """What a round of group synchronisation found; only what differs from the round before is written."""

    def __init__(self, topic: Mm2Topic) -> None:
        self._topic = topic
        self._written: dict[tuple[str, TopicPartition], Checkpoint] = {}

    async def write(self, checkpoints: Iterable[Checkpoint], now_ms: int) -> None:
        fresh = [found for found in checkpoints if self._written.get((found.group, found.target)) != found]
        if fresh:
            await self._topic.write(_fitting(fresh), now_ms)
            self._written |= {(found.group, found.target): found for found in fresh}


def _fitting(checkpoints: Iterable[Checkpoint]) -> Iterator[tuple[bytes, bytes]]:
    """Without those whose metadata MirrorMaker's format cannot hold."""
    for checkpoint in checkpoints:
        try:
            yield checkpoint.key(), checkpoint.value()
        except MalformedData:
            continue


async def beat(topic: Mm2Topic, source_alias: str, target_alias: str, now_ms: int) -> None:
    """One heartbeat on the source."""
    heartbeat = Heartbeat(source_alias, target_alias, now_ms)
    await topic.write([(heartbeat.key(), heartbeat.value())], now_ms)


def _batches(records: Iterable[tuple[bytes, bytes]], now_ms: int) -> Iterator[bytes]:
    part: list[Record] = []
    size = 0
    for key, value in records:
        part.append(Record(len(part), value, key, now_ms))
        size += len(key) + len(value)
        if size >= _BATCH_BYTES:
            yield batch(part, Frame(leader_epoch=-1))
            part, size = [], 0
    if part:
        yield batch(part, Frame(leader_epoch=-1))
