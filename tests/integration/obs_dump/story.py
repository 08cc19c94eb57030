"""A topic with two partitions, a bucket, and the dump unit between them: what stories of gaps begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.domain.policies import OnGap
from smartconnect.jobs.obs_dump.entries import decode
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.support.bucket import count_bucket, left_uploads
from tests.support.dump_unit import DumpUnit, caught_up, dump_spec
from tests.support.ids import RecordId
from tests.support.records import RecordWriter, WriterOptions
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

CONTINUE = ObsDumpOptions(refresh_interval_s=0.3, janitor_min_age_s=0)
STOP = replace(CONTINUE, on_gap=OnGap.STOP)
NO_LOOK_S = 120.0


class Story:
    """`made` makes its topic. `writer` writes to the topic of this name that there is now."""

    def __init__(self, kafka: KafkaCluster, s3: S3Server, bucket: str, topic: str) -> None:
        self.kafka, self.s3, self.bucket, self.topic = kafka, s3, bucket, topic
        self.servers = kafka.bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        self.writer = self._writer("old", 2)

    def _writer(self, tag: str, partitions: int) -> RecordWriter:
        return RecordWriter(self.servers, self.topic, partitions, WriterOptions(tag=tag))

    def unit(self, options: ObsDumpOptions = CONTINUE, *, reads: str = "", writes: str = "") -> DumpUnit:
        """`reads`, `writes`: addresses of proxies before Kafka and the store."""
        spec = dump_spec(self.s3, self.bucket, [self.topic], options)
        return DumpUnit(reads or self.servers, writes or self.s3.endpoint, self.s3.region, spec)

    async def dumped(self, unit: DumpUnit, count: int) -> None:
        """So many records to each partition, in the bucket; the unit is paused then."""
        await self.writer.write(count)
        async with unit.running() as runner:
            await caught_up(runner, sum(self.writer.expected.values()))

    async def made_again(self, count: int, partitions: int = 2) -> dict[tuple[str, int], int]:
        """The topic, another one of the same name with other records; what was expected of the old one."""
        before = self.writer.expected
        await delete_topics(self.servers, [self.topic])
        await self.create_when_gone(partitions)
        await self.write_new(count, partitions)
        return before

    async def create_when_gone(self, partitions: int = 2) -> None:
        async def made() -> bool:
            try:
                await create_topic(self.servers, self.topic, partitions=partitions)
            except KafkaException as error:
                raise AssertionError(f"not yet: {error}") from None
            return True

        await eventually(made, what=f"{self.topic} is made again")

    async def write_new(self, count: int, partitions: int = 2) -> None:
        """Records that are told from those of the old topic."""
        self.writer = self._writer("new", partitions)
        await self.writer.write(count)

    async def delete_records(self, before: int, partition: int = 0) -> None:
        """The log begins at `before` now."""
        for future in self.admin.delete_records([TopicPartition(self.topic, partition, before)]).values():
            await asyncio.to_thread(future.result, 30)

    async def commit(self, unit: DumpUnit, offset: int, partitions: Sequence[int] = (0, 1), metadata: str = "") -> None:
        """Both positions, or some, as somebody other than the unit."""
        more = {"metadata": metadata} if metadata else {}  # an empty one is not sent as such
        positions = [TopicPartition(self.topic, partition, offset, **more) for partition in partitions]
        for future in self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(unit.group, positions)]).values():
            await asyncio.to_thread(future.result, 30)

    async def committed(self, unit: DumpUnit) -> dict[int, int]:
        """The positions by partition. (Asked with our own client: librdkafka 2 crashes when a coordinator answers this with an error.)"""
        async with Cluster(self.servers, KafkaSecurity(), client_id="tests") as cluster:
            found = await fetch_offsets(cluster, unit.group, require_stable=False)
        return {tp.partition: position.offset for tp, position in found.committed.items() if position.offset >= 0}

    async def keeps_its_promises(self, unit: DumpUnit) -> None:
        """Until no position names an object any more: all that were are visible, and no transaction is under way to say so."""

        async def kept() -> bool:
            async with Cluster(self.servers, KafkaSecurity(), client_id="tests") as cluster:
                found = await fetch_offsets(cluster, unit.group, require_stable=True)
            named = [entry.key for position in found.committed.values() for entry in decode(position.metadata).entries]
            assert found.committed and not named, f"still named: {named}"
            return True

        await eventually(kept, 60, what="what was promised is there")

    async def holds(self, *expected: Mapping[tuple[str, int], int], lost: Sequence[RecordId] = ()) -> None:
        """Until each of these records, and no other, is in the bucket exactly once; those that must be `lost` are not."""
        together = {source: count for each in expected for source, count in each.items()}

        async def does() -> bool:
            counted = await count_bucket(self.s3, self.bucket, together)
            missing, counted.lost = counted.lost, []
            assert counted.is_perfect and missing == list(lost), f"{counted}; {len(missing)} are not there: {missing[:5]}"
            return True

        await eventually(does, 60, what="the bucket holds all and nothing twice")

    async def is_tidy(self) -> None:
        """No upload is left over."""
        assert await left_uploads(self.s3, self.bucket) == []
