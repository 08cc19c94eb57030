"""Discovery, creation, growth and configuration of target topics, between two real clusters (kafka-replication.md §9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationOptions
from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication import target_topics
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.topic_configs import BEFORE, DIFFERENCE, SET_ON_TOPIC, mark_of
from smartconnect.jobs.kafka_replication.topic_limits import raise_max_message_bytes
from smartconnect.jobs.kafka_replication.topic_view import TopicView, view_options
from smartconnect.kafka.admin import (
    ConfigValue,
    Resource,
    create_partitions,
    describe_configs,
)
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.sides import TASK, Sides, configs_of, plain, set_configs, spec
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually


@pytest.fixture
async def stack(kafka: KafkaCluster, peer_kafka: KafkaCluster) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def sides(stack: AsyncExitStack, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> Callable[..., Sides]:
    """`sides(spec, task_id=…)`: what a new unit 0 sees; the source is the peer."""
    source = await stack.enter_async_context(plain(peer_kafka))
    target = await stack.enter_async_context(plain(kafka))
    return lambda spec, task_id=TASK: Sides(source, target, spec, task_id)


async def test_topic_is_made_like_its_source(sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names) -> None:
    topic = names.topic()
    config = {"cleanup.policy": "compact", "retention.ms": "7000000", "min.insync.replicas": "1", "compression.type": "gzip"}
    await create_topic(peer_kafka.bootstrap_servers, topic, partitions=3, config=config)
    unit = sides(spec(topic, rename=True, replication_factor=1))
    first = await unit.view.look()
    assert set(first.waiting) == {TopicPartition(topic, number) for number in range(3)} and not first.links
    seen = await unit.made()
    assert unit.topics.created == 1 and unit.events == []
    copy = f"a.{topic}"
    assert {link.target for link in seen.links.values()} == {TopicPartition(copy, number) for number in range(3)}
    assert all(link.source_topic_id and link.target_topic_id for link in seen.links.values())
    found = await configs_of(unit.target, copy)
    assert (found["cleanup.policy"].value, found["retention.ms"].value) == ("compact", "7000000")
    assert found["compression.type"].value == "producer" and found["min.insync.replicas"].source != SET_ON_TOPIC
    limits = seen.limits[copy]
    assert limits.ours and limits.compacted and not limits.log_append_time and limits.unfit is None
    assert limits.max_message_bytes == 1_048_588


async def test_replication_factor_is_asked_for_and_defaults_to_the_brokers(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, other = names.topic(), names.topic("other")
    for name in (topic, other):
        await create_topic(peer_kafka.bootstrap_servers, name)
    unit = sides(spec(topic))
    seen = await unit.made()
    target = seen.pairs[topic].target
    assert target is not None and len(target.partitions[0].replicas) == 1

    greedy = sides(spec(other, replication_factor=2))
    troubles = await greedy.topics.create_and_grow(await greedy.view.look())
    assert set(troubles) == {other} and "INVALID_REPLICATION_FACTOR" in troubles[other].message
    assert await greedy.topics.create_and_grow(await greedy.view.look()) == troubles
    assert [(level, code) for level, code, _ in greedy.events] == [(Level.ERROR, "broker_refused")]


async def test_new_topics_and_partitions_of_a_pattern_are_taken_up(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    await create_topic(peer_kafka.bootstrap_servers, names.topic("one"))
    unit = sides(spec(regex=f"{names.base}\\..*"))
    assert set((await unit.made()).links) == {TopicPartition(names.topic("one"), 0)}
    await create_topic(peer_kafka.bootstrap_servers, names.topic("two"), partitions=2)
    assert await create_partitions(unit.source, {names.topic("one"): 4}) == {names.topic("one"): None}
    seen = await unit.until(lambda seen: len(seen.waiting) == 5)
    assert set(seen.links) == {TopicPartition(names.topic("one"), 0)}
    seen = await unit.made()
    assert len(seen.links) == 6 and unit.topics.created == 2 and unit.events == []
    assert await unit.until(lambda now: now is seen)  # nothing changed: the same object


async def test_target_with_more_partitions_is_left_alone(
    sides: Callable[..., Sides], kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic, partitions=2)
    await create_topic(kafka.bootstrap_servers, topic, partitions=5)
    unit = sides(spec(topic))
    seen = await unit.made()
    assert len(seen.links) == 2 and unit.topics.created == 0 and not seen.limits[topic].ours


async def test_config_change_arrives_and_a_default_is_reset(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic, config={"retention.ms": "5000000", "max.message.bytes": "3000000"})
    unit = sides(spec(topic))
    await unit.made()
    before = await configs_of(unit.target, topic)
    changes = {"retention.ms": "6000000", "segment.ms": "4000000", "max.message.bytes": "4000000"}
    await set_configs(unit.source, topic, changes)
    await unit.synced(topic, changes)
    await set_configs(unit.source, topic, {"retention.ms": None, "max.message.bytes": None, "min.insync.replicas": "1"})
    await unit.synced(topic, {"retention.ms": None, "segment.ms": "4000000", "max.message.bytes": "4000000"})
    after = await configs_of(unit.target, topic)
    assert after["min.insync.replicas"].source != SET_ON_TOPIC
    assert after[BEFORE] == before[BEFORE] and after["compression.type"].value == "producer"
    assert unit.events == []


async def test_who_made_a_topic_is_known_to_every_later_owner_and_to_nobody_else(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic)
    await sides(spec(topic)).made()
    assert (await sides(spec(topic)).until(lambda seen: seen.links)).limits[topic].ours
    other = sides(spec(topic), task_id="another")
    seen = await other.until(lambda seen: seen.links)
    assert not seen.limits[topic].ours
    await set_configs(other.source, topic, {"retention.ms": "6000000"})
    await other.topics.sync_configs(seen)
    assert (await configs_of(other.target, topic))["retention.ms"].is_default


async def test_topic_of_somebody_else_is_kept_alike_only_if_asked_and_told_when_unfit(
    sides: Callable[..., Sides], kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic, config={"retention.ms": "5000000"})
    await create_topic(kafka.bootstrap_servers, topic, config={"max.message.bytes": "1000", "segment.ms": "4000000"})
    unit = sides(spec(topic))
    seen = await unit.until(lambda seen: seen.links)
    await unit.topics.sync_configs(seen)
    await unit.topics.sync_configs(seen)
    assert [(level, code) for level, code, _ in unit.events] == [(Level.WARNING, "target_topic_unfit")]
    assert topic in unit.events[0][2] and "max.message.bytes is 1000" in unit.events[0][2]
    found = await configs_of(unit.target, topic)
    assert found["retention.ms"].is_default and found["segment.ms"].value == "4000000"

    all_of_them = sides(spec(topic, options=ReplicationOptions(sync_topic_configs=True)))
    await all_of_them.synced(topic, {"retention.ms": "5000000", "segment.ms": None, "max.message.bytes": "1048588"})


async def test_refused_config_is_dropped_with_an_event_and_the_rest_arrives(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic, config={"retention.ms": "5000000"})
    unit = sides(spec(topic))
    foreign = {"no.such.config": ConfigValue("7", 1, False, False), "flush.ms": ConfigValue("-7", 1, False, False)}

    async def of_another_make(cluster: Cluster, resources: list[Resource]) -> dict[Resource, object]:
        found = await describe_configs(cluster, resources)
        return {name: values | foreign for name, values in found.items()} if cluster is unit.source else found  # type: ignore[operator]

    monkeypatch.setattr(target_topics, "describe_configs", of_another_make)
    seen = await unit.made()
    assert seen.limits[topic].ours
    assert (await configs_of(unit.target, topic))["retention.ms"].value == "5000000"
    assert [(level, code) for level, code, _ in unit.events] == [(Level.WARNING, "config_refused")] * 2
    assert {next(name for name in foreign if name in message) for _, _, message in unit.events} == set(foreign)

    later = sides(spec(topic))  # a later owner tries once more, then leaves them alone
    await set_configs(later.source, topic, {"retention.ms": "6000000"})
    await later.synced(topic, {"retention.ms": "6000000"})
    assert [code for _, code, _ in later.events] == ["config_refused"] * 2
    await later.topics.sync_configs(await later.view.look())
    assert len(later.events) == 2


async def test_name_that_is_too_long_is_the_error_of_that_topic_alone(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    short, longest, too_long = names.topic(), names.topic("x").ljust(247, "x"), names.topic("y").ljust(248, "y")
    for topic in (short, longest, too_long):
        await create_topic(peer_kafka.bootstrap_servers, topic)
    unit = sides(spec(f"{short},{longest},{too_long}", rename=True))
    seen = await unit.made()
    assert {tp.topic for tp in seen.links} == {short, longest}
    assert set(seen.troubles) == {too_long}
    unit.topics.tell(seen.troubles)
    unit.topics.tell(seen.troubles)
    assert [(level, code) for level, code, _ in unit.events] == [(Level.ERROR, "partition_blocked")]
    assert "250 characters" in seen.troubles[too_long].message and seen.troubles[too_long].code == "partition_blocked"


async def test_topic_that_kafka_cannot_make_is_the_error_of_that_topic_alone(
    sides: Callable[..., Sides], kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    """Names that differ only in "." and "_" collide in Kafka's metrics, so a broker refuses the second one."""
    good, colliding = names.topic("good"), names.topic("a_b")
    await create_topic(kafka.bootstrap_servers, names.topic("a.b"))
    for topic in (good, colliding):
        await create_topic(peer_kafka.bootstrap_servers, topic)
    unit = sides(spec(f"{good},{colliding}"))
    troubles = await unit.topics.create_and_grow(await unit.view.look())
    assert set(troubles) == {colliding} and "collides" in troubles[colliding].message
    seen = await unit.until(lambda seen: seen.links)
    assert {tp.topic for tp in seen.links} == {good} and {tp.topic for tp in seen.waiting} == {colliding}


async def test_topics_made_again_on_either_side_are_told_by_their_ids(
    sides: Callable[..., Sides], kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    tp = TopicPartition(topic, 0)
    await create_topic(peer_kafka.bootstrap_servers, topic)
    unit = sides(spec(topic))
    first = (await unit.made()).links[tp]

    await delete_topics(peer_kafka.bootstrap_servers, [topic])
    gone = await unit.until(lambda seen: not seen.links)
    assert not gone.waiting and not gone.troubles and not gone.pairs
    await create_topic(peer_kafka.bootstrap_servers, topic)
    second = (await unit.until(lambda seen: seen.links)).links[tp]
    assert second.source_topic_id != first.source_topic_id and second.target_topic_id == first.target_topic_id

    await delete_topics(kafka.bootstrap_servers, [topic])
    gone = await unit.until(lambda seen: not seen.links)
    assert set(gone.waiting) == {tp}
    third = (await unit.made()).links[tp]
    assert third.source_topic_id == second.source_topic_id and third.target_topic_id != second.target_topic_id

    await delete_topics(kafka.bootstrap_servers, [topic])
    await create_topic(kafka.bootstrap_servers, topic, config={"max.message.bytes": "600000"})
    seen = await unit.until(lambda seen: seen.links and seen.links[tp].target_topic_id != third.target_topic_id)
    assert seen.limits[topic].max_message_bytes == 600_000 and not seen.limits[topic].ours


async def test_limit_that_was_raised_is_seen_once_it_is_forgotten(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic)
    unit = sides(spec(topic))
    await unit.made()
    assert await raise_max_message_bytes(unit.target, topic, 5_000_000) is None

    async def seen() -> bool:
        unit.view.forget_limits(topic)
        return (await unit.view.look()).limits[topic].max_message_bytes == 5_000_000

    await eventually(seen)
    await unit.synced(topic, {"max.message.bytes": "5000000"})


async def test_units_share_the_partitions_and_know_all_topics(
    sides: Callable[..., Sides], peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic()
    await create_topic(peer_kafka.bootstrap_servers, topic, partitions=5)
    unit = sides(spec(topic))
    await unit.made()
    found = []
    for index in (0, 1):
        options = view_options(spec(topic), Direction.PULL, TASK, lambda tp, index=index: tp.partition % 2 == index)  # type: ignore[misc]
        view = TopicView(unit.source, unit.target, Naming(spec(topic), Direction.PULL), options)
        seen = await view.look()
        assert set(seen.pairs) == {topic} and topic in seen.limits
        found.append({tp.partition for tp in seen.links})
    assert found == [{0, 2, 4}, {1, 3}]


async def test_settings_that_another_version_refuses_are_dropped(kafka: KafkaCluster, names: Names) -> None:
    """Kafka 3.9 has segments of 14 bytes, 4.x refuses them."""
    topic = names.topic()
    async with kafka_cluster(KafkaOptions(version="3.9.1")) as old, plain(old) as source, plain(kafka) as target:
        await create_topic(old.bootstrap_servers, topic, config={"segment.bytes": "14", "retention.ms": "5000000"})
        unit = Sides(source, target, spec(topic))
        seen = await unit.made()
        assert seen.limits[topic].ours
        assert (await configs_of(target, topic))["retention.ms"].value == "5000000"
        assert [(level, code) for level, code, _ in unit.events] == [(Level.WARNING, "config_refused")]
        assert "segment.bytes=14" in unit.events[0][2]


@pytest.mark.long
async def test_target_before_3_6_carries_the_mark_in_its_older_setting(kafka: KafkaCluster, names: Names) -> None:
    topic, other = names.topic(), names.topic("other")
    async with kafka_cluster(KafkaOptions(version="3.3.2")) as old, plain(kafka) as source, plain(old) as target:
        for name in (topic, other):
            await create_topic(kafka.bootstrap_servers, name)
        unit = Sides(source, target, spec(f"{topic},{other}"))
        seen = await unit.made()
        assert seen.limits[topic].ours and seen.limits[other].ours and unit.events == []
        assert (await configs_of(target, topic))[DIFFERENCE].value == mark_of(TASK, Direction.PULL)
