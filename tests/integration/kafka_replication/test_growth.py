"""A running replication takes up what appears later: topics, partitions, configurations; and tells what it cannot copy
(kafka-replication.md §9, §15.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter, read_topic
from tests.support.replication import create_replication
from tests.support.service import Service, ServiceOptions, running_service
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> Iterator[Service]:
    """One service between the two shared clusters; the instance is the target of a pull."""
    options = ServiceOptions(kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    with shared(running_service(tmp_path_factory.mktemp("growth"), options)) as service:
        yield service


class Peer:
    """The peer's topics by the independent client."""

    def __init__(self, server: KafkaCluster) -> None:
        self.servers = server.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    async def written(self, topic: str, partitions: int = 1, records: int = 100, **config: str) -> RecordWriter:
        await create_topic(self.servers, topic, partitions=partitions, config=config)
        writer = RecordWriter(self.servers, topic, partitions)
        await writer.write(records)
        return writer

    async def grow(self, topic: str, partitions: int) -> None:
        (future,) = (await asyncio.to_thread(self._admin.create_partitions, [NewPartitions(topic, partitions)])).values()
        await asyncio.to_thread(future.result, 30)

    async def set_config(self, topic: str, name: str, value: str | None) -> None:
        how = AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE
        entry = ConfigEntry(name, value, incremental_operation=how)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        (future,) = (await asyncio.to_thread(self._admin.incremental_alter_configs, [resource])).values()
        await asyncio.to_thread(future.result, 30)


@pytest.fixture
def peer(peer_kafka: KafkaCluster) -> Peer:
    return Peer(peer_kafka)


async def config_of(server: KafkaCluster, topic: str) -> Mapping[str, str | None]:
    """Empty while there is no such topic."""
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 0})
    (future,) = (await asyncio.to_thread(admin.describe_configs, [ConfigResource(ResourceType.TOPIC, topic)])).values()
    try:
        return {name: entry.value for name, entry in (await asyncio.to_thread(future.result, 30)).items()}
    except KafkaException:
        return {}


async def mirrored(peer: Peer, kafka: KafkaCluster, topic: str, copy: str | None = None) -> None:
    await eventually_mirrored(Side(peer.servers, topic), Side(kafka.bootstrap_servers, copy or topic))


async def test_topics_and_partitions_that_appear_later_are_copied_from_their_beginning(
    service: Service, kafka: KafkaCluster, peer: Peer, names: Names
) -> None:
    first = names.topic("one")
    writer = await peer.written(first, 2)
    task = await create_replication(
        service, names.base, topics_regex=f"{names.base}\\..*", rename_topic_enabled=True, cluster_name="a"
    )
    await task.caught_up(offsets=200)
    await mirrored(peer, kafka, first, f"a.{first}")

    await peer.written(names.topic("two"), 3)
    await peer.grow(first, 4)
    grown = RecordWriter(peer.servers, first, 4)
    await grown.write(50, [2, 3])
    await writer.write(10)
    await mirrored(peer, kafka, names.topic("two"), f"a.{names.topic('two')}")
    await mirrored(peer, kafka, first, f"a.{first}")
    progress = await task.caught_up(offsets=620)
    assert progress["counters"]["topics_created"] == 2 and progress["partitions_total"] == 7
    await task.delete()


async def test_what_was_there_before_latest_is_left_out_and_later_topics_are_whole(
    service: Service, kafka: KafkaCluster, peer: Peer, names: Names
) -> None:
    old, new = names.topic("old"), names.topic("new")
    writer = await peer.written(old)
    task = await create_replication(service, names.base, topics_regex=f"{names.base}\\..*", consumer_strategy="latest")
    await task.shows("RUNNING")
    await task.caught_up(offsets=100)
    await peer.written(new)
    await writer.write(7)
    await mirrored(peer, kafka, new)

    async def only_the_later_ones() -> bool:
        copied = (await read_topic(kafka.bootstrap_servers, old))[0]
        wanted = (await read_topic(peer.servers, old))[0][100:]
        return [record.value for record in copied] == [record.value for record in wanted]

    await eventually(only_the_later_ones, 30)
    await task.delete()


async def test_created_topic_follows_the_configuration_of_its_source(
    service: Service, kafka: KafkaCluster, peer: Peer, names: Names
) -> None:
    topic = names.topic()
    await peer.written(topic, **{"retention.ms": "700000000", "cleanup.policy": "compact,delete"}, records=0)
    task = await create_replication(service, names.base, topics=topic, replication_factor=1)

    async def made() -> bool:
        found = await config_of(kafka, topic)
        return (found.get("retention.ms"), found.get("cleanup.policy")) == ("700000000", "compact,delete")

    await eventually(made, 60)
    await peer.set_config(topic, "retention.ms", "800000000")
    await peer.set_config(topic, "cleanup.policy", None)

    async def followed() -> bool:
        found = await config_of(kafka, topic)
        return (found.get("retention.ms"), found.get("cleanup.policy")) == ("800000000", "delete")

    await eventually(followed, 60)
    await task.delete()


async def test_topic_that_cannot_be_copied_is_told_and_the_others_go_on(
    service: Service, kafka: KafkaCluster, peer: Peer, names: Names
) -> None:
    """Kafka refuses a name that differs from another topic's only in "." and "_"."""
    good, colliding = names.topic("good"), names.topic("x_y")
    await create_topic(kafka.bootstrap_servers, names.topic("x.y"))
    writer = await peer.written(good)
    task = await create_replication(service, names.base, topics_regex=f"{names.base}\\.(good|x_y)")
    await mirrored(peer, kafka, good)
    await peer.written(colliding)

    async def told() -> bool:
        events = (await task.progress())["events"]
        return any(event["level"] == "error" and colliding in event["message"] for event in events)

    await eventually(told, 30)
    await writer.write(5)
    await mirrored(peer, kafka, good)
    await task.delete()
