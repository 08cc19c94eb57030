"""Who wrote a batch, from its producer id alone, on a real broker (kafka-replication.md §8.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest
from confluent_kafka import Producer

from smartconnect.domain.errors import PermissionMissing
from smartconnect.jobs.kafka_replication.origins import Origin, encode_origin
from smartconnect.jobs.kafka_replication.position_store import PositionStore, build_batch
from smartconnect.jobs.kafka_replication.positions_topic import IDENTITIES
from smartconnect.jobs.kafka_replication.producer_ids import Origins, OriginUnreadable, OriginWriter, ProducerLoops
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Batch, encode, walk
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.services import Names, shared

OURS = Origin("task", "push", "cluster A", "identity")


class Linked(NamedTuple):
    link: Link


ORDERS = Linked(Link(TopicPartition("orders", 0), TopicPartition("orders", 0), None, None))
RENAMED = Linked(Link(TopicPartition("orders", 0), TopicPartition("b.orders", 0), None, None))
NewId = Callable[[], Awaitable[int]]


def rows(*producers: int) -> list[Batch]:
    """Headers of batches of these producers."""
    blob = b""
    for offset, producer in enumerate(producers):
        blob += encode.batch([encode.Record(offset, b"v")], encode.Frame(producer_id=producer, base_sequence=0))
    return walk(blob, 0, ())


@pytest.fixture(scope="module")
def fresh_kafka() -> Iterator[KafkaCluster]:
    """A broker that holds no positions topic at first."""
    with shared(kafka_cluster()) as cluster:
        yield cluster


@pytest.fixture
async def cluster(kafka: KafkaCluster) -> AsyncIterator[Cluster]:
    async with Cluster(kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        await PositionStore(cluster, "any", 1, "push").ensure_topic(None)
        yield cluster


@pytest.fixture
def new_id(cluster: Cluster, names: Names) -> NewId:
    """Producer ids that the broker has given to nobody else."""

    async def make() -> int:
        made.append(TransactionalId(cluster, f"smartconnect.{names.base}.{len(made)}"))
        await made[-1].initialise()
        return made[-1].producer_id

    made: list[TransactionalId] = []
    return make


async def test_batches_of_our_producers_are_told_from_those_of_others(cluster: Cluster, new_id: NewId) -> None:
    ours, stranger = await new_id(), await new_id()
    await OriginWriter(cluster, OURS, lambda: 1).announce(ours)
    loops = ProducerLoops(Origins(cluster), "cluster A")
    judged = await loops.judge(ORDERS, rows(stranger, ours, -1))
    assert judged is not None and (judged(ours), judged(stranger), judged(-1)) == (True, False, False)
    assert await loops.judge(RENAMED, rows(ours)) is None, "it would go to another topic than it came from"
    elsewhere = ProducerLoops(Origins(cluster), "cluster C")
    assert await elsewhere.judge(ORDERS, rows(ours)) is None, "it would go to another cluster than it came from"


async def test_an_id_younger_than_what_was_read_is_asked_for(cluster: Cluster, new_id: NewId) -> None:
    """The batch of a stranger fills the cache; then a producer of ours appears."""
    stranger, ours = await new_id(), await new_id()
    loops = ProducerLoops(Origins(cluster), "cluster A")
    assert await loops.judge(ORDERS, rows(stranger)) is None
    await OriginWriter(cluster, OURS, lambda: 1).announce(ours)
    judged = await loops.judge(ORDERS, rows(stranger, ours))
    assert judged is not None and judged(ours) and not judged(stranger)


async def test_a_marker_that_is_older_than_the_record_about_its_producer_decides_nothing(cluster: Cluster, new_id: NewId) -> None:
    """A predecessor was killed between adding partitions and announcing itself; its successor has the same id."""
    ours = await new_id()
    loops = ProducerLoops(Origins(cluster), "cluster A")
    assert await loops.judge(ORDERS, walk(encode.marker(0, ours, commit=False), 0, ())) is None
    await OriginWriter(cluster, OURS, lambda: 1).announce(ours)
    judged = await loops.judge(ORDERS, rows(ours))
    assert judged is not None and judged(ours)


async def test_known_ids_cost_no_request(kafka: KafkaCluster, proxied_kafka: KafkaProxy, cluster: Cluster, new_id: NewId) -> None:
    ours, stranger = await new_id(), await new_id()
    writer = OriginWriter(cluster, OURS, lambda: 1)
    await writer.announce(ours)
    async with Cluster(proxied_kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as seen:
        loops = ProducerLoops(Origins(seen), "cluster A")
        await loops.judge(ORDERS, rows(ours, stranger))
        before = dict(proxied_kafka.requests)
        for _ in range(3):
            assert await loops.judge(ORDERS, rows(stranger, ours, -1)) is not None
        assert dict(proxied_kafka.requests) == before
        writer = OriginWriter(seen, OURS, lambda: 1)
        await writer.announce(ours)
        await writer.announce(ours)
        assert proxied_kafka.requests[ApiKey.PRODUCE] == 1


async def test_without_a_positions_topic_nobody_is_ours_until_there_is_one(fresh_kafka: KafkaCluster) -> None:
    async with Cluster(fresh_kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        loops = ProducerLoops(Origins(cluster), "cluster A")
        assert await loops.judge(ORDERS, rows(7)) is None
        await PositionStore(cluster, "any", 1, "push").ensure_topic(None)
        await OriginWriter(cluster, OURS, lambda: 1).announce(7)
        judged = await loops.judge(ORDERS, rows(7))
        assert judged is not None and judged(7), "no answer was remembered from a time without the topic"


async def test_an_origin_counts_whatever_became_of_its_transaction(cluster: Cluster, new_id: NewId, names: Names) -> None:
    """Also one from somebody who wrote it in a transaction that was aborted."""
    ours = await new_id()
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "transactional.id": names.base, "log_level": 0})
    await asyncio.to_thread(producer.init_transactions, 30)
    producer.begin_transaction()
    producer.produce(IDENTITIES.topic, encode_origin(OURS), f"i/{ours}", partition=IDENTITIES.partition)
    await asyncio.to_thread(producer.flush, 30)
    await asyncio.to_thread(producer.abort_transaction, 30)
    judged = await ProducerLoops(Origins(cluster), "cluster A").judge(ORDERS, rows(ours))
    assert judged is not None and judged(ours)


async def test_an_origin_of_a_newer_version_stops_rather_than_goes_round(cluster: Cluster, new_id: NewId) -> None:
    ours = await new_id()
    await produce_plain(cluster, IDENTITIES, build_batch([(f"i/{ours}", b"\x02whatever")], 1))
    loops = ProducerLoops(Origins(cluster), "cluster A")
    with pytest.raises(OriginUnreadable, match="newer Smart Connect"):
        await loops.judge(ORDERS, rows(ours))
    assert await loops.judge(ORDERS, rows(ours + 1_000_000)) is None, "others are not concerned"


async def test_without_the_right_to_read_it_the_guard_is_blind_or_demands_it() -> None:
    users = {"bob": "bob-secret", "admin": "admin-secret"}
    options = KafkaOptions(security="SASL_PLAINTEXT", plain_users=users, authorizer=True)
    async with kafka_cluster(options) as server:
        async with Cluster(server.internal_servers, KafkaSecurity(), client_id="tests") as admin:
            await PositionStore(admin, "any", 1, "push").ensure_topic(None)
        bob = KafkaSecurity(protocol="SASL_PLAINTEXT", mechanism="PLAIN", user_name="bob", password="bob-secret")
        async with Cluster(server.bootstrap_servers, bob, client_id="tests") as cluster:
            with pytest.raises(PermissionMissing):
                await Origins(cluster).of([7])
            told: list[PermissionMissing] = []
            origins = Origins(cluster, told.append)
            for _ in range(2):
                assert await origins.of([7]) == {}
            assert len(told) == 1
