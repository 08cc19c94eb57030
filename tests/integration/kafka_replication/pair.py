"""A topic with two partitions on the peer, its copy here, and the unit between them: what stories of gaps begin with."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from confluent_kafka import KafkaException

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.domain.policies import OnGap
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.mirror import Side
from tests.support.records import RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

CONTINUE = ReplicationOptions(refresh_interval_s=0.5)
STOP = replace(CONTINUE, on_gap=OnGap.STOP)


class Pair:
    """`source` is on the peer. `made` makes its topic."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, topic: str) -> None:
        self.topic = topic
        self.source, self.target = Side(peer.bootstrap_servers, topic), Side(here.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic, 2)

    @classmethod
    async def made(cls, here: KafkaCluster, peer: KafkaCluster, topic: str) -> Self:
        await create_topic(peer.bootstrap_servers, topic, partitions=2)
        return cls(here, peer, topic)

    def unit(self, options: ReplicationOptions = CONTINUE, *, reads: str = "", writes: str = "") -> UnitUnderTest:
        """`reads`, `writes`: addresses of a proxy, where one stands before that side."""
        return UnitUnderTest(writes or self.target.servers, spec_of(reads or self.source.servers, [self.topic], options))

    async def copied(self, unit: UnitUnderTest, count: int) -> None:
        """So many records to each partition, copied; the unit is paused then."""
        await self.writer.write(count)
        async with unit.running() as runner:
            await caught_up(runner)

    async def made_again(self, count: int) -> None:
        """The source's topic, another one of the same name with other records."""
        await delete_topics(self.source.servers, [self.topic])
        await create_when_gone(self.source.servers, self.topic)
        self.writer = RecordWriter(self.source.servers, self.topic, 2)
        await self.writer.write(count)


async def create_when_gone(servers: str, topic: str) -> None:
    """With two partitions, as soon as the old one of that name is gone."""

    async def made() -> bool:
        try:
            await create_topic(servers, topic, partitions=2)
        except KafkaException as error:
            raise AssertionError(f"not yet: {error}") from None
        return True

    await eventually(made, what=f"{topic} is made again")
