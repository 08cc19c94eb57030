"""Administration against a real broker."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.kafka.admin import (
    NewTopic,
    Refused,
    Resource,
    ResourceKind,
    create_partitions,
    create_topics,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_producers,
    incremental_alter_configs,
)
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.offsets import (
    EARLIEST,
    LATEST,
    READ_COMMITTED,
    READ_UNCOMMITTED,
    EpochEnd,
    epoch_ends,
    list_offsets,
)
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.conftest import MakeTopic
from tests.integration.kafka.conftest import Produce, produce_to
from tests.support.services import Names
from tests.support.waiting import eventually


async def test_topic_is_made_grown_and_deleted(cluster: Cluster, names: Names) -> None:
    topic = names.topic()
    made = await create_topics(cluster, [NewTopic(topic, 2, 1, {"retention.ms": "123456"}), NewTopic("no good", 1)])
    assert made[topic] is None
    assert isinstance(refused := made["no good"], Refused) and refused.code is KafkaCode.INVALID_TOPIC_EXCEPTION
    again = (await create_topics(cluster, [NewTopic(topic, 2)]))[topic]
    assert again is not None and again.code is KafkaCode.TOPIC_ALREADY_EXISTS
    assert await create_partitions(cluster, {topic: 5}) == {topic: None}
    found = await eventually(lambda: five_led(cluster, topic))
    assert found.topic_id is not None
    deleted = await delete_topics(cluster, [topic, names.topic("never")])
    assert deleted[topic] is None
    assert deleted[names.topic("never")] is not None

    async def unknown() -> bool:
        return (await cluster.metadata([topic])).topics[topic].error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION

    await eventually(unknown)


async def five_led(cluster: Cluster, topic: str):  # type: ignore[no-untyped-def]
    info = (await cluster.metadata([topic])).topics[topic]
    return info if len(info.partitions) == 5 and all(p.leader >= 0 for p in info.partitions.values()) else None


async def test_configs_are_read_changed_and_reset(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = Resource(ResourceKind.TOPIC, await make_topic(config={"retention.ms": "5000000"}))
    absent, broker = Resource(ResourceKind.TOPIC, "absent"), Resource(ResourceKind.BROKER, "1")
    found = await describe_configs(cluster, [topic, absent, broker])
    assert isinstance(found[absent], Refused)
    values, of_broker = found[topic], found[broker]
    assert not isinstance(values, Refused) and not isinstance(of_broker, Refused)
    assert values["retention.ms"].value == "5000000" and not values["retention.ms"].is_default
    assert values["cleanup.policy"].is_default
    assert of_broker["offset.metadata.max.bytes"].value == "4096"
    changed = await incremental_alter_configs(cluster, {topic: {"retention.ms": None, "cleanup.policy": "compact"}})
    assert changed == {topic: None}

    async def arrived() -> bool:
        values = (await describe_configs(cluster, [topic]))[topic]
        assert not isinstance(values, Refused)
        return values["retention.ms"].is_default and values["cleanup.policy"].value == "compact"

    await eventually(arrived)
    refused = (await incremental_alter_configs(cluster, {topic: {"no.such.config": "1"}}))[topic]
    assert refused is not None and refused.code is KafkaCode.INVALID_CONFIG


async def test_offsets_are_listed_by_isolation_and_time(
    cluster: Cluster, kafka: KafkaCluster, topic: str, produce: Produce
) -> None:
    tp, absent = TopicPartition(topic, 0), TopicPartition(topic, 9)
    await asyncio.to_thread(produce, topic, 10)
    await asyncio.to_thread(produce_to, kafka.bootstrap_servers, topic, 5, transaction=True)
    for isolation in (READ_UNCOMMITTED, READ_COMMITTED):

        async def behind_the_marker(isolation: int = isolation) -> bool:
            return (await list_offsets(cluster, {tp: LATEST}, isolation))[tp].offset == 16

        await eventually(behind_the_marker)
        found = await list_offsets(cluster, {tp: LATEST, absent: LATEST}, isolation)
        assert (found[tp].offset, found[tp].leader_epoch, found[tp].error) == (16, 0, None)
        assert found[absent].error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION
    assert await delete_records(cluster, {tp: 4}) == {tp: 4}
    assert (await list_offsets(cluster, {tp: EARLIEST}, READ_COMMITTED))[tp].offset == 4
    assert (await list_offsets(cluster, {tp: 2**60}, READ_COMMITTED))[tp].offset == -1
    assert await epoch_ends(cluster, {tp: 0}) == {tp: EpochEnd(0, 16)}
    producers = await describe_producers(cluster, [tp])
    assert isinstance(found_producers := producers[tp], list) and len(found_producers) >= 1


async def test_cluster_and_rights_are_described(cluster: Cluster, topic: str) -> None:
    described = await describe_cluster(cluster)
    assert described.controller in described.brokers
    assert described.operations is not None and "CREATE" in described.operations
    info = (await cluster.metadata([topic], operations=True)).topics[topic]
    assert info.operations is not None and {"READ", "WRITE", "DESCRIBE"} <= info.operations


async def test_unchanged_metadata_is_the_same_object(cluster: Cluster, topic: str, names: Names) -> None:
    before = await cluster.metadata(None)
    assert topic in before.topics
    assert await cluster.metadata(None) is before
    await create_topics(cluster, [NewTopic(names.topic("new"), 1)])
    after = await eventually(lambda: with_topic(cluster, names.topic("new")))
    assert after is not before
    await delete_topics(cluster, [names.topic("new")])


async def with_topic(cluster: Cluster, topic: str):  # type: ignore[no-untyped-def]
    found = await cluster.metadata(None)
    return found if topic in found.topics else None


@pytest.mark.parametrize("count", [1, 50])
async def test_leaders_are_found_and_cached(cluster: Cluster, make_topic: MakeTopic, count: int) -> None:
    topic = await make_topic(partitions=count)
    parts = [TopicPartition(topic, number) for number in range(count)]
    assert await cluster.leaders_of(parts) == {tp: (1, 0) for tp in parts}
