"""What only several brokers can do: lose records by an unclean election, lack replicas for one topic while others have theirs, and move
leaders and coordinators under load (kafka-replication.md §5, §6.4, §11, §15.6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationOptions
from smartconnect.domain.policies import OnGap
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of, supervised
from tests.integration.kafka_replication.under_load import Scene, Story, load
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, spec_of
from tests.support.service import ServiceOptions, running_service
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


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_topic_below_its_least_replicas_rests_while_the_others_go_on(
    delivery: Delivery, three: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    weak, strong = names.topic("weak"), names.topic("strong")
    here, there = three.bootstrap_servers, peer_kafka.bootstrap_servers
    await create_on(here, weak, [SECOND, THIRD], min_insync_replicas="2")
    await create_on(here, strong, [0, SECOND])
    writers = []
    for topic in (weak, strong):
        await create_topic(there, topic)
        writers.append(RecordWriter(there, topic))
        await writers[-1].write(100)
    unit = UnitUnderTest(here, spec_of(there, [weak, strong], replace(FAST, delivery=delivery)))
    async with supervised(unit) as running:
        # until its end is written everywhere: afterwards it could not be, and everything would wait for it
        for topic in (weak, strong):
            await eventually_mirrored(Side(there, topic), Side(here, topic))
        await three.nodes[THIRD].kill()
        admin = AdminClient({"bootstrap.servers": here, "log_level": 0})
        await eventually(lambda: _in_sync(admin, weak) == 1, 60, what="a replica is missing")
        row = await blocked(running(), weak, "target_lacks_replicas")
        for writer in writers:
            await writer.write(100)
        assert row.reason is not None and "min.insync.replicas (2)" in row.reason.message
        for _ in range(3):
            await writers[1].write(100)
            await eventually_mirrored(Side(there, strong), Side(here, strong), 30)
        assert len(await contents(Side(here, weak))) == 100
        await three.nodes[THIRD].start()
        await eventually_mirrored(Side(there, weak), Side(here, weak), 120)
        await eventually(lambda: row_of(running(), weak).reason is None, what="nothing is blocked any more")


TRANSACTIONS = "__transaction_state"


async def lead(cluster: KafkaCluster, topics: Sequence[str], node: int, folder: Path) -> None:
    """Make the node (counted from 1) the preferred leader of every partition, and have it elected. The replicas stay where they are."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    found = await asyncio.to_thread(admin.list_topics, timeout=30)
    wanted = {
        TopicPartition(topic, number): [node, *(other for other in partition.replicas if other != node)]
        for topic in topics
        for number, partition in found.topics[topic].partitions.items()
    }
    rows = [{"topic": tp.topic, "partition": tp.partition, "replicas": replicas} for tp, replicas in wanted.items()]
    plan = folder / "reassignment.json"
    plan.write_text(json.dumps({"version": 1, "partitions": rows}))
    arguments = ("--bootstrap-server", cluster.bootstrap_servers, "--reassignment-json-file", str(plan), "--execute")
    await cluster.run_tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", *arguments)
    await asyncio.to_thread(admin.elect_leaders(ElectionType.PREFERRED, list(wanted)).result, 30)

    def leads() -> bool:
        now = admin.list_topics(timeout=30).topics
        return all(partition.leader == node for topic in topics for partition in now[topic].partitions.values())

    await eventually(lambda: asyncio.to_thread(leads), 60, what=f"node {node} leads {', '.join(topics)}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("direction", ["pull", "push"])
async def test_leaders_and_coordinators_move_under_load(
    direction: str, three: KafkaCluster, peer_kafka: KafkaCluster, names: Names, tmp_path: Path
) -> None:
    """The three nodes are the target (pull), then the source (push). Elections first, then two nodes end: one cleanly, one by kill -9."""
    topic, here, there = names.topic("orders"), three.bootstrap_servers, peer_kafka.bootstrap_servers
    current, peer = Side(here, topic), Side(there, topic)
    how: dict[str, object] = {"direction": direction}
    async with running_service(tmp_path, ServiceOptions(here, peer_servers=there)) as service:
        if direction == "pull":
            story = Story(Scene(service, peer, current, how={**how, "replication_factor": 3}))
        else:
            story = Story(Scene(service, current, peer, replicas=3, how={**how, "replication_factor": 1}))
        await story.begin()
        async with load(story.writer):
            for node in (2, 3, 1, 2):
                await lead(three, [topic], node, tmp_path)
                await lead(three, [TRANSACTIONS], node, tmp_path)
            await story.task.moves_on()
            await three.nodes[SECOND].stop()
            await story.task.moves_on()
            await three.nodes[SECOND].start()
            await lead(three, [topic, TRANSACTIONS], THIRD + 1, tmp_path)
            await three.nodes[THIRD].kill()
            await story.task.moves_on()
            await three.nodes[THIRD].start()
        await story.end()
