"""Positions on a real broker: the topic as it must be, and reading that waits for nobody (kafka-replication.md §6.3)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from smartconnect.jobs.kafka_replication import positions_topic
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.position_codec import (
    CHUNK,
    POSITION,
    GroupMark,
    MapRun,
    PositionKey,
    StoredPosition,
    encode_chunk,
    encode_position,
)
from smartconnect.jobs.kafka_replication.position_store import PositionStore, build_batch
from smartconnect.jobs.kafka_replication.positions_topic import IDENTITIES, PARTITIONS, TOPIC, PositionsTopicUnfit
from smartconnect.kafka.admin import Resource, ResourceKind, delete_topics, describe_configs, incremental_alter_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import read_topic
from tests.support.services import shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

ORDERS = TopicPartition("orders", 0)
SOURCE_ID, TARGET_ID = uuid4(), uuid4()
OFFSET_NOT_AVAILABLE = (78).to_bytes(2, "big")
SOON = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.0", "delete.retention.ms": "0", "max.compaction.lag.ms": "1"}


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """A broker whose positions topic is these tests' own, and whose cleaner does not rest."""
    with shared(kafka_cluster(KafkaOptions(properties={"log.cleaner.backoff.ms": "50"}))) as cluster:
        yield cluster


@pytest.fixture
async def cluster(broker: KafkaCluster) -> AsyncIterator[Cluster]:
    async with Cluster(broker.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> PositionStore:
    """Of a task of this test alone."""
    store = PositionStore(cluster, str(uuid4()), 3, "pull")
    await store.ensure_topic(None)
    return store


def position(next_source: int, **changes: object) -> StoredPosition:
    found = StoredPosition(7, SOURCE_ID, next_source, 2, TARGET_ID, next_source + 10, 1_700_000_000_000)
    return replace(found, **changes)  # type: ignore[arg-type]


def all_of(tp: TopicPartition) -> bool:
    return True


class Writer:
    """A transactional producer of the independent client that writes positions of a store's task."""

    def __init__(self, broker: KafkaCluster, store: PositionStore) -> None:
        self._store = store
        settings = {"bootstrap.servers": broker.bootstrap_servers, "transactional.id": f"tests-{uuid4()}", "log_level": 0}
        self.producer = Producer({**settings, "transaction.timeout.ms": 600_000})
        self.producer.init_transactions(30)

    def write(self, positions: Mapping[TopicPartition, StoredPosition | None]) -> None:
        """Into a transaction that stays open."""
        with contextlib.suppress(Exception):
            self.producer.begin_transaction()
        for tp, stored in positions.items():
            key = self._store._key(POSITION, tp).encode()
            value = None if stored is None else encode_position(stored)
            self.producer.produce(TOPIC, value, key, partition=self._store.tp.partition)
        assert self.producer.flush(30) == 0

    def commit(self) -> None:
        self.producer.commit_transaction(30)

    def abort(self) -> None:
        self.producer.abort_transaction(30)


async def decided(cluster: Cluster, tp: TopicPartition) -> None:
    """Until the markers of what was ended are in the log: as after InitProducerId."""

    async def is_decided() -> bool:
        stable, high = [(await list_offsets(cluster, {tp: LATEST}, isolation))[tp].offset for isolation in (READ_COMMITTED, 0)]
        return stable == high

    await eventually(is_decided)


async def test_the_topic_is_made_on_first_use_as_it_must_be(cluster: Cluster) -> None:
    await delete_topics(cluster, [TOPIC])
    stores = [PositionStore(cluster, str(uuid4()), 1, "push") for _ in range(3)]

    async def made() -> bool:
        """The deletion may still go on."""
        with contextlib.suppress(Exception):
            await asyncio.gather(*(store.ensure_topic(None) for store in stores))
        return TOPIC in (await cluster.metadata([TOPIC])).topics

    await eventually(made)
    found = (await cluster.metadata([TOPIC])).topics[TOPIC]
    assert len(found.partitions) == PARTITIONS == 8
    assert {len(partition.replicas) for partition in found.partitions.values()} == {1}
    resource = Resource(ResourceKind.TOPIC, TOPIC)
    configs = (await describe_configs(cluster, [resource]))[resource]
    assert isinstance(configs, dict)
    wanted = {
        "cleanup.policy": "compact",
        "segment.bytes": "16777216",
        "min.cleanable.dirty.ratio": "0.1",
        "max.message.bytes": "8388608",
        "compression.type": "producer",
    }
    assert {name: configs[name].value for name in wanted} == wanted
    for store in stores:
        assert dict(await store.read(all_of)) == {}


async def test_a_topic_that_would_lose_positions_is_refused_until_it_is_mended(cluster: Cluster, store: PositionStore) -> None:
    resource = Resource(ResourceKind.TOPIC, TOPIC)
    await incremental_alter_configs(cluster, {resource: {"cleanup.policy": "compact,delete"}})
    with pytest.raises(PositionsTopicUnfit, match=r"cleanup\.policy=compact,delete"):
        await eventually(lambda: store.ensure_topic(None), 5)
    await incremental_alter_configs(cluster, {resource: {"cleanup.policy": "compact"}})

    async def accepted() -> bool:
        with contextlib.suppress(PositionsTopicUnfit):
            await store.ensure_topic(None)
            return True
        return False

    await eventually(accepted)


async def test_a_topic_with_too_few_partitions_is_refused() -> None:
    async with kafka_cluster() as other:
        await create_topic(other.bootstrap_servers, TOPIC, partitions=2, config={"cleanup.policy": "compact"})
        async with Cluster(other.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
            with pytest.raises(PositionsTopicUnfit, match="needs 8"):
                await PositionStore(cluster, "t", 1, "pull").ensure_topic(None)


async def test_what_was_written_is_read_back(cluster: Cluster, store: PositionStore) -> None:
    older, runs = (MapRun(0, 5, 10), MapRun(12, 20, 3)), (MapRun(20, 30, 10),)
    chunks = {ORDERS: {0: encode_chunk(older, thinned=True), 12: encode_chunk(older[1:], thinned=False)}}
    stored = {ORDERS: position(30, next_target=40, runs=runs), TopicPartition("orders", 1): position(0, next_target=-1)}
    await produce_plain(cluster, store.tp, store.batch(stored, 1_700_000_000_000, chunks))
    marks = {(ORDERS, "billing/eu"): GroupMark(12, 20, True), (ORDERS, ""): GroupMark(1, -1, False)}
    await produce_plain(cluster, store.tp, store.marks_batch(marks, 1))
    found = await store.read(all_of)
    assert dict(found) == stored
    assert found.chunks == {ORDERS: [(0, chunks[ORDERS][0]), (12, b"")]}
    assert found.marks == {ORDERS: {"billing/eu": GroupMark(12, 20, True), "": GroupMark(1, -1, False)}}
    assert (found.newest_run, found.unreadable) == (3, {})
    assert dict(await store.read(lambda tp: tp.partition == 1)) == {TopicPartition("orders", 1): position(0, next_target=-1)}


async def test_only_positions_of_this_task_run_and_direction_are_read(cluster: Cluster, store: PositionStore) -> None:
    task = store._task
    others = [
        PositionStore(cluster, task, 2, "pull"),
        PositionStore(cluster, task, 4, "pull"),
        PositionStore(cluster, task, 9, "push"),
    ]
    for number, other in enumerate([*others, store]):
        await produce_plain(cluster, store.tp, other.batch({ORDERS: position(number)}, 1))
    foreign = PositionKey(POSITION, "another", 3, "pull", ORDERS).encode()
    await produce_plain(cluster, store.tp, batch_of({foreign: b"x", f"i/{task}": b"x", f"p/{task}": b"x"}))
    found = await store.read(all_of)
    assert dict(found) == {ORDERS: position(3)}
    assert found.newest_run == 4


async def test_a_position_that_cannot_be_read_is_told_and_its_neighbours_are_read(cluster: Cluster, store: PositionStore) -> None:
    await produce_plain(cluster, store.tp, store.batch({TopicPartition("orders", 1): position(5)}, 1))
    await produce_plain(cluster, store.tp, batch_of({store._key(POSITION, ORDERS).encode(): b"\x02\x00"}))
    found = await store.read(all_of)
    assert dict(found) == {TopicPartition("orders", 1): position(5)}
    assert list(found.unreadable) == [ORDERS] and "version 2" in found.unreadable[ORDERS]


async def test_a_damaged_offset_map_leads_to_the_beginning_and_stops_nothing(cluster: Cluster, store: PositionStore) -> None:
    runs = (MapRun(100, 200, 10),)
    stored = position(120, next_target=210, runs=runs)
    chunks = {ORDERS: {0: encode_chunk([MapRun(0, 0, 150)], thinned=False)}}
    await produce_plain(cluster, store.tp, store.batch({ORDERS: stored}, 1, chunks))
    found = await store.read(all_of)
    assert dict(found) == {ORDERS: stored} and found.unreadable == {}
    assert "not part of it" in found.damaged_maps[ORDERS]
    offset_map = OffsetMap.stored(stored, found.chunks[ORDERS])
    assert [offset_map.translate(offset) for offset in (0, 50, 99, 100, 109, 120)] == [0, 1, 1, 200, 209, 210]


def batch_of(entries: Mapping[str, bytes | None]) -> bytearray:
    return build_batch(entries.items(), 1)


async def test_committed_transactions_count_and_aborted_ones_do_not(
    broker: KafkaCluster, cluster: Cluster, store: PositionStore
) -> None:
    one, other = TopicPartition("orders", 1), TopicPartition("orders", 2)
    first, second = Writer(broker, store), Writer(broker, store)
    first.write({ORDERS: position(10), one: position(11)})
    second.write({other: position(12)})
    first.commit()
    second.abort()
    first.write({ORDERS: position(20)})
    second.write({other: position(30)})
    first.abort()
    second.commit()
    await decided(cluster, store.tp)
    assert dict(await store.read(all_of)) == {ORDERS: position(10), one: position(11), other: position(30)}


async def test_undecided_transactions_of_others_neither_count_nor_hold_anything_back(
    broker: KafkaCluster, cluster: Cluster, store: PositionStore
) -> None:
    """A foreign transaction hangs in the same partition: the last stable offset stays before our own last commit."""
    hanging, ours = Writer(broker, store), Writer(broker, store)
    hanging.write({TopicPartition("orders", 9): position(1)})
    for number in range(5):
        ours.write({ORDERS: position(number)})
        ours.commit()

    async def committed_all() -> bool:
        return dict(await store.read(all_of)) == {ORDERS: position(4)}

    await eventually(committed_all)
    stable = (await list_offsets(cluster, {store.tp: LATEST}, READ_COMMITTED))[store.tp].offset
    high = (await list_offsets(cluster, {store.tp: LATEST}, 0))[store.tp].offset
    assert stable <= high - 11
    hanging.abort()


async def test_the_last_record_wins_by_its_offset_not_by_its_marker(
    broker: KafkaCluster, cluster: Cluster, store: PositionStore
) -> None:
    early, late = Writer(broker, store), Writer(broker, store)
    early.write({ORDERS: position(1)})
    late.write({ORDERS: position(2)})
    late.commit()
    early.commit()
    await decided(cluster, store.tp)
    assert dict(await store.read(all_of)) == {ORDERS: position(2)}


async def test_a_leader_that_does_not_know_its_high_watermark_yet_is_asked_again(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy
) -> None:
    async with Cluster(proxied_kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        store = PositionStore(cluster, str(uuid4()), 1, "pull")
        await store.ensure_topic(None)
        await produce_plain(cluster, store.tp, store.batch({ORDERS: position(5)}, 1))
        name = TOPIC.encode()

        def refuse(request: Request, answer: bytes) -> bytes:
            at = answer.index(name) + len(name) + 1 + 4
            return answer[:at] + OFFSET_NOT_AVAILABLE + answer[at + 2 :]

        rule = proxied_kafka.rewrite_answer(ApiKey.LIST_OFFSETS, refuse, count=2)
        assert dict(await store.read(all_of)) == {ORDERS: position(5)}
        await rule.hit(2)


async def test_a_compacted_topic_tells_the_same(broker: KafkaCluster, cluster: Cluster, store: PositionStore) -> None:
    resource = Resource(ResourceKind.TOPIC, TOPIC)
    await incremental_alter_configs(cluster, {resource: SOON})
    ours, other = Writer(broker, store), Writer(broker, store)
    gone, kept = TopicPartition("orders", 1), TopicPartition("orders", 2)
    ours.write({gone: position(1), kept: position(77)})
    ours.commit()
    for number in range(20):
        ours.write(
            {ORDERS: position(number), gone: None if number == 10 else position(number)}
            if number < 11
            else {ORDERS: position(number)}
        )
        ours.commit()
        other.write({ORDERS: position(1000 + number)})
        other.abort()
    ours.write({TopicPartition("orders", 8): position(8)})
    ours.commit()

    async def cleaned() -> bool:
        records = (await read_topic(broker.bootstrap_servers, TOPIC, isolation="read_uncommitted"))[store.tp.partition]
        return len([record for record in records if record.key and store._task in record.key.decode()]) <= 6

    await eventually(cleaned, 60)
    assert dict(await store.read(all_of)) == {ORDERS: position(19), kept: position(77), TopicPartition("orders", 8): position(8)}
    await incremental_alter_configs(cluster, {resource: dict.fromkeys(SOON)})


async def test_a_restart_removes_older_runs_and_a_deletion_all(cluster: Cluster, store: PositionStore) -> None:
    task = store._task
    old, newer, push = (PositionStore(cluster, task, run, way) for run, way in ((1, "pull"), (5, "pull"), (1, "push")))
    tps = [TopicPartition("orders", number) for number in range(50)]
    for each in (old, store, newer, push):
        chunks = {tp: {0: encode_chunk([MapRun(0, 0, 1)], thinned=False)} for tp in tps}
        await produce_plain(cluster, store.tp, each.batch(dict.fromkeys(tps, position(1)), 1, chunks))
    keys = await store.keys_of_older_runs()
    assert set(keys) == {old._key(POSITION, tp).encode() for tp in tps} | {
        old._key(CHUNK, tp)._replace(first=0).encode() for tp in tps
    }
    for batch in store.tombstones(keys, 2):
        await produce_plain(cluster, store.tp, batch)
    assert await store.keys_of_older_runs() == []
    assert dict(await old.read(all_of)) == {} and len(await store.read(all_of)) == len(await push.read(all_of)) == 50
    assert len(await store.keys_of_task()) == 200
    for batch in store.tombstones(await store.keys_of_task(), 3):
        await produce_plain(cluster, store.tp, batch)
    assert await store.keys_of_task() == [] and len(await push.read(all_of)) == 50


async def test_positions_of_thousands_of_partitions_are_one_batch(cluster: Cluster, store: PositionStore) -> None:
    runs = tuple(MapRun(10**9 + 1000 * number, 10**9 + 1003 * number, 990) for number in range(64))
    stored = {
        TopicPartition(f"a.topic.with.a.name.of.some.length.{number % 50}", number // 50): position(10**10 + number, runs=runs)
        for number in range(5000)
    }
    batch = store.batch(stored, 1_700_000_000_000)
    assert len(batch) < 2 << 20
    await produce_plain(cluster, store.tp, batch)
    assert dict(await store.read(all_of)) == stored


async def test_who_writes_is_stored_in_the_first_partition() -> None:
    assert TopicPartition(TOPIC, 0) == IDENTITIES
    assert {positions_topic.partition_of(str(number)).partition for number in range(200)} == set(range(PARTITIONS))
    assert positions_topic.partition_of("123456789") == TopicPartition(TOPIC, 0xE3069283 % PARTITIONS)
