"""What only several brokers can do: lose records by an unclean election, and lack replicas for one topic while others have theirs
(kafka-replication.md §5, §6.4, §15.6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from smartconnect.domain.kafka_replication_spec import Delivery, OnGap, ReplicationOptions
from smartconnect.jobs.kafka_replication import refusals
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of, supervised
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

pytestmark = pytest.mark.long
FAST = ReplicationOptions(refresh_interval_s=0.5)
SECOND, THIRD = 1, 2
"""Their places among the nodes; the first one is the controller too and stays."""


@pytest.fixture
async def three() -> AsyncIterator[KafkaCluster]:
    async with kafka_cluster(KafkaOptions(nodes=3)) as cluster:
        yield cluster


async def create_on(servers: str, topic: str, nodes: Sequence[int], **config: str) -> None:
    """One partition whose replicas lie on these nodes (counted from 0), the first one leads."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    new = NewTopic(
        topic, 1, replica_assignment=[[node + 1 for node in nodes]], config={k.replace("_", "."): v for k, v in config.items()}
    )
    for future in (await asyncio.to_thread(admin.create_topics, [new])).values():
        await asyncio.to_thread(future.result, 30)
    await eventually(lambda: _leader(admin, topic), what=f"{topic} has a leader")


def _leader(admin: AdminClient, topic: str) -> int:
    """The node (counted from 1) that leads, 0: nobody."""
    partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
    return max(0, partitions[0].leader) if partitions else 0


def _in_sync(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(topic, timeout=30).topics[topic].partitions[0].isrs)


@pytest.mark.parametrize("on_gap", list(OnGap), ids=str)
async def test_records_lost_by_an_unclean_election_are_told_and_the_target_keeps_them(
    on_gap: OnGap, three: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    source, target = Side(three.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
    await create_on(source.servers, topic, [SECOND, THIRD], unclean_leader_election_enable="true")
    admin = AdminClient({"bootstrap.servers": source.servers, "log_level": 0})
    await eventually(lambda: _in_sync(admin, topic) == 2, 30, what="both replicas are in sync")
    writer = RecordWriter(source.servers, topic)
    await writer.write(100)
    unit = UnitUnderTest(target.servers, spec_of(source.servers, [topic], replace(FAST, on_gap=on_gap)))
    async with supervised(unit) as running:
        await eventually(lambda: row_of(running(), topic).position == 100, 60, what="the common part is copied")
        await three.nodes[THIRD].kill()
        await eventually(lambda: _in_sync(admin, topic) == 1, 60, what="one replica is out of sync")
        await writer.write(100)
        await eventually(lambda: row_of(running(), topic).position == 200, 60, what="the part that will be lost is copied")
        copied = await contents(target)
        await three.nodes[SECOND].kill()
        await three.nodes[THIRD].start()
        await eventually(lambda: _leader(admin, topic) == THIRD + 1, 60, what="the replica without the records leads")
        await RecordWriter(source.servers, topic, 1, WriterOptions(tag="after")).write(50)
        if on_gap is OnGap.CONTINUE:
            after = (await contents(source))[100:]
            assert len(after) == 50
            await eventually_holds(target, [*copied, *after])
            assert unit.ledger.codes == ["gap"] and "unclean election" in unit.ledger.events[0][2]
            assert running().progress().counters["gaps"] == 1
        else:
            row = await blocked(running(), topic, "gap")
            assert row.reason is not None and "unclean election" in row.reason.message
            assert await contents(target) == copied


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param(
            Delivery.EXACTLY_ONCE,
            marks=pytest.mark.xfail(
                strict=True,
                reason="a transaction that the weak partition was added to cannot end while its marker cannot be written: the whole "
                "transactional id waits (AddPartitionsToTxn answers CONCURRENT_TRANSACTIONS until the replica is back)",
            ),
        ),
        Delivery.AT_LEAST_ONCE,
    ],
    ids=str,
)
async def test_a_topic_below_its_least_replicas_rests_while_the_others_go_on(
    delivery: Delivery, three: KafkaCluster, peer_kafka: KafkaCluster, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_FIRST_REST_S", 1.0)
    weak, strong = names.topic("weak"), names.topic("strong")
    here, there = three.bootstrap_servers, peer_kafka.bootstrap_servers
    await create_on(here, weak, [SECOND, THIRD], min_insync_replicas="2")
    await create_on(here, strong, [0, SECOND])
    writers = []
    for topic in (weak, strong):
        await create_topic(there, topic)
        writers.append(RecordWriter(there, topic))
        await writers[-1].write(100)
    async with UnitUnderTest(here, spec_of(there, [weak, strong], replace(FAST, delivery=delivery))).running() as runner:
        await caught_up(runner)
        await three.nodes[THIRD].kill()
        admin = AdminClient({"bootstrap.servers": here, "log_level": 0})
        await eventually(lambda: _in_sync(admin, weak) == 1, 60, what="a replica is missing")
        for writer in writers:
            await writer.write(100)
        row = await blocked(runner, weak, "target_unavailable")
        assert row.reason is not None and "NOT_ENOUGH_REPLICAS" in row.reason.message
        for _ in range(3):
            await writers[1].write(100)
            await eventually_mirrored(Side(there, strong), Side(here, strong), 30)
        assert len(await contents(Side(here, weak))) == 100
        await three.nodes[THIRD].start()
        await eventually_mirrored(Side(there, weak), Side(here, weak), 120)
        await eventually(lambda: row_of(runner, weak).reason is None, what="nothing is blocked any more")
