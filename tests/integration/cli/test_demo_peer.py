"""The demo's count of the peer's topics must not be able to miss: read from a real Kafka, each kind of fault shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

from smartconnect.cli.demo.peer import PeerCheck
from smartconnect.cli.demo.source import PARTITIONS, TOPICS, Written, value
from smartconnect.cli.demo.tally import Tally
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.records import Outcome, RecordWriter
from tests.support.topics import create_topic, delete_topics

RECORDS = 10


@pytest.fixture
async def writers(peer_kafka: KafkaCluster) -> AsyncIterator[dict[str, RecordWriter]]:
    """The demo's topics on the peer, as yet empty."""
    for topic, partitions in TOPICS.items():
        await create_topic(peer_kafka.bootstrap_servers, topic, partitions=partitions)
    yield {topic: RecordWriter(peer_kafka.bootstrap_servers, topic, partitions) for topic, partitions in TOPICS.items()}
    await delete_topics(peer_kafka.bootstrap_servers, list(TOPICS))


async def write(writers: dict[str, RecordWriter], tp: TopicPartition, sequences: Iterable[int]) -> None:
    for sequence in sequences:
        await writers[tp.topic].write_raw(tp.partition, value(tp, sequence))


async def counted(server: KafkaCluster) -> Tally:
    written = Written(dict.fromkeys(PARTITIONS, RECORDS))
    async with Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster, PeerCheck(cluster) as check:
        await check.look()
        return await check.conclude(written)


async def test_all_records_once_are_perfect_and_aborted_ones_are_not_seen(
    peer_kafka: KafkaCluster, writers: dict[str, RecordWriter]
) -> None:
    for tp in PARTITIONS:
        await write(writers, tp, range(5))
    await writers["orders"].write_transaction(3, Outcome.ABORT)
    for tp in PARTITIONS:
        await write(writers, tp, range(5, RECORDS))
    tally = await counted(peer_kafka)
    assert tally.perfect and tally.every_partition
    assert tally.once == len(PARTITIONS) * RECORDS


async def test_every_fault_is_counted(peer_kafka: KafkaCluster, writers: dict[str, RecordWriter]) -> None:
    short, doubled, foreign, *others = PARTITIONS
    await write(writers, short, [0, 1, 2, 5, 6])
    await write(writers, doubled, [*range(RECORDS), 9, 8])
    await write(writers, foreign, range(RECORDS))
    await writers[foreign.topic].write_raw(foreign.partition, value(others[0], 3))
    await writers[foreign.topic].write_raw(foreign.partition, None)
    for tp in others:
        await write(writers, tp, range(RECORDS))
    tally = await counted(peer_kafka)
    assert (tally.lost, tally.twice, tally.strange) == (5, 2, 2)


async def test_topics_that_were_never_made_are_lost(peer_kafka: KafkaCluster) -> None:
    tally = await counted(peer_kafka)
    assert (tally.once, tally.lost, tally.perfect) == (0, len(PARTITIONS) * RECORDS, False)
