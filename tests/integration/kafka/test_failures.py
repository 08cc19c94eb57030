"""Brokers that die, freeze, move or were never there: the client goes on, or says what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.transactions import OffsetCommit, TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.ports import free_port
from tests.integration.kafka.conftest import (
    CountingAdmission,
    Produce,
    collect,
    fast_timing,
    offsets_of,
    produce_to,
    reached,
)
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

QUICK = FetchOptions(max_wait_ms=100, idle_wait_ms=100)


@pytest.fixture(scope="module")
def own() -> Iterator[KafkaCluster]:
    """A node that a test may kill or freeze; each leaves it alive."""
    with shared(kafka_cluster(KafkaOptions())) as server:
        yield server


async def test_broker_that_was_never_there_is_named_within_the_patience() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with Cluster(address, KafkaSecurity(), client_id="tests", timing=fast_timing(patience_s=0.5)) as cluster:
        with pytest.raises(ClusterUnreachable, match=address):
            await cluster.metadata([])


async def test_fetching_goes_on_after_the_broker_was_killed_and_started_again(
    own: KafkaCluster, names: Names, admission: CountingAdmission
) -> None:
    topic = names.topic()
    tp = TopicPartition(topic, 0)
    await create_topic(own.bootstrap_servers, topic)
    await asyncio.to_thread(produce_to, own.bootstrap_servers, topic, 1000)
    async with (
        Cluster(own.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
        Fetcher(cluster, QUICK, admission) as fetcher,
    ):
        fetcher.assign(tp, 0)
        got = await collect(fetcher, reached({tp: 1000}))
        await own.nodes[0].kill()
        await eventually(lambda: fetcher.troubles)
        assert "127.0.0.1" in str(fetcher.troubles[0][1])
        await own.nodes[0].start()
        await asyncio.to_thread(produce_to, own.bootstrap_servers, topic, 1000, start=1000)
        got += await collect(fetcher, reached({tp: 2000}))
        assert offsets_of(got) == list(range(2000)) and fetcher.troubles == []
    assert admission.held == 0


async def test_commit_is_repeated_until_the_coordinator_is_back(own: KafkaCluster, names: Names) -> None:
    topic, group = names.topic(), names.group()
    tp = TopicPartition(topic, 0)
    await create_topic(own.bootstrap_servers, topic)
    async with Cluster(own.bootstrap_servers, KafkaSecurity(), client_id="tests", timing=fast_timing()) as cluster:
        owner = TransactionalId(cluster, names.base, timeout_ms=120_000)
        await owner.initialise()
        await owner.add_offsets(group)
        await owner.commit_offsets(group, {tp: OffsetCommit(5)})
        await own.nodes[0].kill()
        ending = asyncio.create_task(owner.end(commit=True))
        await own.nodes[0].start()
        await asyncio.wait_for(ending, 60)

        async def decided() -> bool:
            found = await fetch_offsets(cluster, group, require_stable=True, partitions=[tp])
            return tp in found.committed and found.committed[tp].offset == 5

        await eventually(decided)
        await owner.add_offsets(group)
        await owner.end(commit=True)


async def test_frozen_broker_is_given_up_and_found_again(own: KafkaCluster, names: Names, admission: CountingAdmission) -> None:
    topic = names.topic()
    tp = TopicPartition(topic, 0)
    await create_topic(own.bootstrap_servers, topic)
    await asyncio.to_thread(produce_to, own.bootstrap_servers, topic, 10)
    timing = fast_timing(request_s=1.0, connect_s=1.0)
    async with (
        Cluster(own.bootstrap_servers, KafkaSecurity(), client_id="tests", timing=timing) as cluster,
        Fetcher(cluster, QUICK, admission) as fetcher,
    ):
        fetcher.assign(tp, 0)
        await collect(fetcher, reached({tp: 10}))
        own.nodes[0].freeze()
        await eventually(lambda: fetcher.troubles)
        own.nodes[0].thaw()
        await asyncio.to_thread(produce_to, own.bootstrap_servers, topic, 10, start=10)
        assert offsets_of(await collect(fetcher, reached({tp: 20}))) == list(range(10, 20))


async def test_leaders_that_move_are_followed(names: Names, admission: CountingAdmission) -> None:
    async with kafka_cluster(KafkaOptions(nodes=3)) as server:
        topic = names.topic()
        parts = [TopicPartition(topic, number) for number in range(6)]
        await create_topic(server.internal_servers, topic, partitions=6, replicas=3)
        async with (
            Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
            Fetcher(cluster, QUICK, admission) as fetcher,
        ):
            for tp in parts:
                fetcher.assign(tp, 0)
                await asyncio.to_thread(produce_to, server.internal_servers, topic, 100, partition=tp.partition)
            got = await collect(fetcher, reached(dict.fromkeys(parts, 100)))
            assert {fetcher.view(tp).leader for tp in parts} == {1, 2, 3}
            await server.nodes[2].kill()
            survivors = ",".join(server.internal_servers.split(",")[:2])
            for tp in parts:
                await asyncio.to_thread(produce_to, survivors, topic, 100, partition=tp.partition, start=100)
            got += await collect(fetcher, reached(dict.fromkeys(parts, 200)), 60)
            for tp in parts:
                assert offsets_of(part for part in got if part.tp == tp) == list(range(200))
                assert fetcher.view(tp).leader in (1, 2)


async def test_replica_in_our_rack_is_fetched_from(names: Names, admission: CountingAdmission) -> None:
    options = KafkaOptions(
        nodes=2,
        racks=("east", "west"),
        properties={"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"},
    )
    async with kafka_cluster(options) as server:
        topic = names.topic()
        parts = [TopicPartition(topic, number) for number in range(4)]
        await create_topic(server.internal_servers, topic, partitions=4, replicas=2)
        async with (
            Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests", rack="west") as cluster,
            Fetcher(cluster, QUICK, admission) as fetcher,
        ):
            for tp in parts:
                fetcher.assign(tp, 0)
                await asyncio.to_thread(produce_to, server.internal_servers, topic, 100, partition=tp.partition)
            got = await collect(fetcher, reached(dict.fromkeys(parts, 100)))
            for tp in parts:
                assert offsets_of(part for part in got if part.tp == tp) == list(range(100))
            assert {fetcher.view(tp).leader for tp in parts} == {1, 2}
            assert {fetcher.view(tp).fetched_from for tp in parts} == {2}


async def test_position_beyond_the_end_of_its_epoch_is_told_with_the_end(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 10)
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 50, leader_epoch=0)
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
        assert (part.error, part.diverged_at) == (KafkaCode.OFFSET_OUT_OF_RANGE, 10)
        fetcher.seek(tp, 5, leader_epoch=0)
        assert offsets_of(await collect(fetcher, reached({tp: 10})))[-1] == 9


async def test_broker_without_room_for_sessions_is_fetched_from_without_one(names: Names, admission: CountingAdmission) -> None:
    options = KafkaOptions(properties={"max.incremental.fetch.session.cache.slots": "1"})
    async with kafka_cluster(options) as server:
        topic = names.topic()
        parts = [TopicPartition(topic, number) for number in range(40)]
        await create_topic(server.bootstrap_servers, topic, partitions=40)
        crowded = FetchOptions(max_wait_ms=100, idle_wait_ms=100, session_above=4)
        async with (
            Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
            Fetcher(cluster, crowded, admission) as first,
            Fetcher(cluster, crowded, admission) as second,
        ):
            for tp in parts:
                for fetcher in (first, second):
                    fetcher.assign(tp, 0)
                await asyncio.to_thread(produce_to, server.bootstrap_servers, topic, 20, partition=tp.partition)
            for fetcher in (first, second):
                got = await collect(fetcher, reached(dict.fromkeys(parts, 20)))
                for tp in parts:
                    assert offsets_of(part for part in got if part.tp == tp) == list(range(20))
            sessions = [channel._session._epoch > 0 for fetcher in (first, second) for channel in fetcher._channels()]
            assert sum(sessions) <= 1
