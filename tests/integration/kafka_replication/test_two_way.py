"""Both sides written to at once, copied both ways: each side ends with every record once, and then nothing moves any more
(kafka-replication.md §8, §15.7)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.records import RecordWriter, WriterOptions, read_topic
from tests.support.replication import Replication, create_replication
from tests.support.service import Service, ServiceOptions, running_service
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

QUIET_LOOKS = 8
POSITIONS = "__smartconnect_positions"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> Iterator[Service]:
    options = ServiceOptions(kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    with shared(running_service(tmp_path_factory.mktemp("two-way"), options)) as service:
        yield service


class TwoSides:
    """A topic on each cluster with a writer of its own."""

    def __init__(self, kafka: KafkaCluster, peer: KafkaCluster, here: str, there: str) -> None:
        self.here, self.there = (kafka.bootstrap_servers, here), (peer.bootstrap_servers, there)
        self._writers = [
            RecordWriter(servers, topic, 2, WriterOptions(tag=tag))
            for (servers, topic), tag in ((self.here, "here"), (self.there, "there"))
        ]
        self.written = 0

    async def begin(self) -> None:
        for servers, topic in (self.here, self.there):
            await create_topic(servers, topic, partitions=2)
        await self.write()

    async def write(self) -> None:
        await asyncio.gather(*(writer.write(150) for writer in self._writers))
        self.written += 2 * 150

    async def values(self, side: tuple[str, str]) -> Counter[bytes]:
        records = await read_topic(*side)
        return Counter(record.value or b"" for found in records.values() for record in found)

    async def is_quiet(self, *sides: tuple[str, str]) -> None:
        """Ends of logs, markers included, stay what they are."""
        seen: list[dict[str, int]] = []

        async def same() -> bool:
            seen.append({f"{servers} {topic}": await asyncio.to_thread(_end, servers, topic) for servers, topic in sides})
            last = seen[-QUIET_LOOKS:]
            return len(last) == QUIET_LOOKS and all(ends == last[0] for ends in last)

        await eventually(same, 60, what="nothing moves any more", poll_s=0.25)


def _end(servers: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "ends", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1] for number in partitions)
    finally:
        consumer.close()


async def test_by_rename_each_side_has_its_own_topic_and_a_copy(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    sides = TwoSides(kafka, peer_kafka, topic, topic)
    await sides.begin()
    aliases = {"current_cluster_name": "A", "cluster_name": "B"}
    task = await create_replication(
        service, "two-way-rename", direction="two-way", topics_regex=f".*{topic}", rename_topic_enabled=True, **aliases
    )
    await sides.write()
    copies = (sides.here[0], f"B.{topic}"), (sides.there[0], f"A.{topic}")
    for copy, original in zip(copies, (sides.there, sides.here), strict=True):
        await _becomes(sides, copy, await sides.values(original))
    await sides.is_quiet(sides.here, sides.there, *copies)
    await task.delete()


@pytest.mark.parametrize("how", ["header", "crossed"])
async def test_by_one_name_both_sides_become_the_union(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names, how: str
) -> None:
    topic = names.topic("orders")
    sides = TwoSides(kafka, peer_kafka, topic, topic)
    await sides.begin()
    tasks = await _both_ways(service, how, topic)
    for _ in range(3):
        await sides.write()
    for side in (sides.here, sides.there):
        await _becomes_complete(sides, side)
    await sides.is_quiet(sides.here, sides.there)
    for task in tasks:
        await task.delete()


async def test_by_mapping_both_sides_become_the_union(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    """`a` goes to `b` in both directions: neither `b` is selected itself."""
    topic, copy = names.topic("orders"), names.topic("copies")
    sides = TwoSides(kafka, peer_kafka, topic, topic)
    await sides.begin()
    task = await create_replication(service, "two-way-mapping", direction="two-way", topics_mapping=f"{topic}:{copy}")
    await sides.write()
    copies = (sides.here[0], copy), (sides.there[0], copy)
    for target, original in zip(copies, (sides.there, sides.here), strict=True):
        await _becomes(sides, target, await sides.values(original))
    await sides.is_quiet(sides.here, sides.there, *copies)
    await task.delete()


async def _both_ways(service: Service, how: str, topic: str) -> list[Replication]:
    if how == "header":
        settings = {"provenance_header_enabled": True}
        return [await create_replication(service, "two-way-header", topics=topic, direction="two-way", **settings)]
    return [
        await create_replication(service, "crossed-pull", topics=topic, direction="pull"),
        await create_replication(service, "crossed-push", topics=topic, direction="push"),
    ]


async def _becomes_complete(sides: TwoSides, side: tuple[str, str]) -> None:
    async def complete() -> bool:
        found = await sides.values(side)
        assert max(found.values()) == 1, f"a record is there {max(found.values())} times"
        assert len(found) == 2 * sides.written, f"{len(found)} of {2 * sides.written} records"
        return True

    await eventually(complete, 60, what=f"{side[1]} of {side[0]} has every record once", poll_s=0.3)


async def _becomes(sides: TwoSides, side: tuple[str, str], expected: Counter[bytes]) -> None:
    async def same() -> bool:
        assert await sides.values(side) == expected
        return True

    await eventually(same, 60, what=f"{side[1]} of {side[0]} is a copy", poll_s=0.3)
