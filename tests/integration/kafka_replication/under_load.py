"""A topic under load and the task of a running service that copies it: what a story does to servers and processes happens between
`begin` and `end`, and at the end the target is the source's mirror."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import confluent_kafka
from confluent_kafka import OFFSET_END, Consumer

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.jobs.clusters import open_cluster
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition
from smartconnect.settings import KafkaConnectionSettings
from tests.support.mirror import Side, assert_mirrored
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.replication import create_replication
from tests.support.service import Service
from tests.support.topics import create_topic
from tests.support.waiting import eventually

PARTITIONS = 5
_POLL_S = 0.1
_TRUSTED_S = 15.0


@asynccontextmanager
async def load(writer: RecordWriter) -> AsyncIterator[asyncio.Lock]:
    """Records, committed and aborted transactions, without end; no transaction is open while the lock that this gives is held, and the ends
    of all are written: Kafka would forget them with its only broker (KAFKA-20734), and every reader would wait for ever."""
    stopping, transactions = asyncio.Event(), asyncio.Lock()

    async def write() -> None:
        while not stopping.is_set():
            await writer.write(60)
            async with transactions:
                await writer.write_transaction(20)
                await writer.write_transaction(10, Outcome.ABORT)
                await ends_written(writer)

    writing = asyncio.create_task(write())
    try:
        yield transactions
    finally:
        stopping.set()
        await writing


async def ends_written(writer: RecordWriter) -> None:
    """Until no transaction is open in the writer's topic: brokers say yes before that."""
    latest = {TopicPartition(writer.topic, partition): LATEST for _, partition in writer.expected}
    async with open_cluster(KafkaConnectionSettings(bootstrap_servers=writer.servers), client_id="tests") as cluster:

        async def written() -> bool:
            try:
                stable, ends = [await list_offsets(cluster, latest, isolation) for isolation in (READ_COMMITTED, READ_UNCOMMITTED)]
            except ClusterUnreachable:
                return False
            return stable == ends and all(listed.error is None for listed in ends.values())

        await eventually(written, what=f"all transactions in {writer.topic} are over")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a story plays. `replicas`: of the source's topic; `how`: what more the request says (`create_replication`)."""

    service: Service
    source: Side
    target: Side
    replicas: int = 1
    how: Mapping[str, object] = field(default_factory=dict, repr=False)


class Story:
    """A topic under load and the task that copies it."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.topic = scene, scene.source.topic
        self.source, self.target = scene.source, scene.target
        self.writer = RecordWriter(self.source.servers, self.topic, PARTITIONS, WriterOptions(codec="lz4", value_size=100))

    async def begin(self) -> None:
        scene = self.scene
        await create_topic(self.source.servers, self.topic, partitions=PARTITIONS, replicas=scene.replicas)
        await self.writer.write(200)
        name, how = f"copy-{secrets.token_hex(4)}", {"task_num": 2, **scene.how}
        self.task = await create_replication(scene.service, name, topics=self.topic, **how)  # type: ignore[arg-type]
        await self.task.caught_up()

    async def end(self) -> None:
        """Nothing is written any more: what was is on the target once, in order, and so is what comes after all this."""
        await self.writer.write(50)
        ends = await self._ends()
        await self.task.caught_up(120, offsets=ends)
        await assert_mirrored(self.source, self.target)

    async def _ends(self) -> int:
        """The sum of the source's ends, markers and aborted records included, less what follows the last record that can be read."""
        records = await self.source.read()
        return sum(of_partition[-1].offset + 1 for of_partition in records.values())


class Pauses:
    """When a reader saw something new, and for how long it saw nothing."""

    def __init__(self) -> None:
        self._seen_at = time.monotonic()
        self._longest_s = 0.0

    def seen(self) -> None:
        """Something has come now."""
        self._longest_s, self._seen_at = self.longest_s(), time.monotonic()

    def longest_s(self) -> float:
        """The longest pause since `forget`, the one that lasts still included."""
        return max(self._longest_s, time.monotonic() - self._seen_at)

    def has_seen_since(self, moment: float) -> bool:
        """Something came after this moment of the monotonic clock."""
        return self._seen_at > moment

    def forget(self) -> None:
        """What was is over; a new count begins."""
        self._longest_s, self._seen_at = 0.0, time.monotonic()


@asynccontextmanager
async def watched(side: Side) -> AsyncIterator[Pauses]:
    """Read the topic from its end on, as read_committed, by a client that is not ours and comes back quickly; gives its pauses. A consumer
    that brings nothing for long is replaced: now and then librdkafka stands still for minutes after a broker's restart, where a new one
    reads on."""
    stopping, pauses = threading.Event(), Pauses()
    properties: dict[str, str | int | bool] = {
        "bootstrap.servers": side.servers,
        "group.id": f"watcher-{secrets.token_hex(4)}",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 100,
        "log_level": 0,
        **side.client,
    }

    def from_the_end() -> Consumer:
        consumer = Consumer(properties)
        consumer.assign([confluent_kafka.TopicPartition(side.topic, partition, OFFSET_END) for partition in range(PARTITIONS)])
        return consumer

    def watch() -> None:
        consumer, trusted_until = from_the_end(), time.monotonic() + _TRUSTED_S
        while not stopping.is_set():
            message = consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                pauses.seen()
                trusted_until = time.monotonic() + _TRUSTED_S
            elif time.monotonic() > trusted_until:
                consumer.close()
                consumer, trusted_until = from_the_end(), time.monotonic() + _TRUSTED_S
        consumer.close()

    watching = asyncio.create_task(asyncio.to_thread(watch))
    try:
        yield pauses
    finally:
        stopping.set()
        await watching
