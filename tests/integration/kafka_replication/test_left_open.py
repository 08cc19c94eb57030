"""A transaction whose end Kafka forgets in partitions that had no leader when it came (KAFKA-20734): it ends as it would have, with nothing
lost and nothing twice (kafka-replication.md §6.4). Two real brokers: the one that coordinates stays, the other one dies in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from smartconnect.domain.planning import UnitName, transactional_id
from smartconnect.engine.unit import StopSignal
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.kafka_replication import positions_topic
from smartconnect.kafka.cluster import TRANSACTION, Cluster
from smartconnect.kafka.open_transactions import OpenTransactions, open_transactions
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.settings import KafkaConnectionSettings
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.transactions import markers_written
from tests.support.waiting import eventually

STAYS, DIES = 1, 2
UNIT = UnitName("pull", 1, 0)
POSITIONS_ACKED, END_OK = "positions.acked", "end.ok"


@pytest.fixture(scope="module")
def two() -> Iterator[KafkaCluster]:
    with shared(kafka_cluster(KafkaOptions(nodes=2))) as cluster:
        yield cluster


async def create_on(cluster: KafkaCluster, topic: str, placed: list[list[int]], config: Mapping[str, str] | None = None) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    new = NewTopic(topic, len(placed), replica_assignment=placed, config=dict(config or {}))
    await asyncio.to_thread(admin.create_topics([new])[topic].result, 30)


@dataclass
class Actions:
    """A step log that does something once, when a step comes."""

    at: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    enabled: bool = True

    def log(self, line: Mapping[str, object]) -> None:
        for action in self.at.pop(str(line["step"]), ()):
            action()


class Scene:
    """One topic, copied to a partition on the one node, its positions on the one or the other, coordinated by the node that stays."""

    def __init__(self, two: KafkaCluster, kafka: KafkaCluster, topic: str) -> None:
        self.cluster, self.node = two, two.nodes[DIES - 1]
        self.connection = KafkaConnectionSettings(bootstrap_servers=two.bootstrap_servers)
        self.data = TopicPartition(topic, 0)
        self.source, self.target = Side(kafka.bootstrap_servers, topic), Side(two.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic)
        self.steps = Actions()

    async def made(self, *, data_on: int, positions_on: int) -> None:
        """The copy runs, and 50 records are on the target with their position."""
        with contextlib.suppress(KafkaException):  # the second test finds it
            half = positions_topic.PARTITIONS // 2
            await create_on(self.cluster, positions_topic.TOPIC, [[STAYS]] * half + [[DIES]] * half, {"cleanup.policy": "compact"})
        await create_topic(self.source.servers, self.source.topic)
        await create_on(self.cluster, self.target.topic, [[data_on]])
        async with self.opened() as target:
            task_id = await self._task(target, positions_on)
        spec = spec_of(self.source.servers, [self.source.topic])
        self.unit = UnitUnderTest(self.target.servers, spec, steps=self.steps, task_id=task_id)
        self.name = transactional_id(task_id, UNIT)
        self.positions = positions_topic.partition_of(task_id)
        await self.writer.write(50)
        async with self.unit.running() as runner:
            await caught_up(runner)

    def opened(self) -> Cluster:
        return open_cluster(self.connection, client_id="tests")

    async def _task(self, target: Cluster, positions_on: int) -> str:
        """A task id whose positions lie there, and whose transactions the node that stays coordinates."""
        half, stays = positions_topic.PARTITIONS // 2, f":{self.cluster.ports[STAYS - 1].client})"
        while True:
            task_id = f"task-{random.getrandbits(64):016x}"
            if (positions_topic.partition_of(task_id).partition < half) is (positions_on == STAYS):
                coordinator = await target.coordinator(TRANSACTION, transactional_id(task_id, UNIT))
                if coordinator.peer.endswith(stays):
                    return task_id

    def die(self) -> None:
        os.kill(self.node.pid, signal.SIGKILL)

    async def dies_in_the_middle(self, *, commit: bool) -> None:
        """Data and positions of one more transaction are on the target when the node dies. Then it is committed, or its owner dies too and
        it is aborted; the coordinator has done with it before the node is back."""
        life = asyncio.create_task(self.unit.runner().run(StopSignal()))
        self.steps.at = (
            {POSITIONS_ACKED: [self.die], END_OK: [life.cancel]} if commit else {POSITIONS_ACKED: [self.die, life.cancel]}
        )
        await self.writer.write(50)
        await asyncio.gather(life, return_exceptions=True)
        assert life.cancelled() and not self.steps.at
        async with self.opened() as target:
            if not commit:
                await TransactionalId(target, self.name).initialise()
        await markers_written(self.connection, self.name)
        await self.back()

    async def back(self) -> None:
        await self.node.kill()
        await self.node.start()

    async def left_open(self) -> set[TopicPartition]:
        """Where Kafka has forgotten the end, as its leaders tell."""
        async with self.opened() as target:
            mine = TransactionalId(target, self.name)
            await mine.initialise()

            async def told() -> OpenTransactions | None:
                found = await open_transactions(target, [self.data, self.positions], mine.producer_id)
                return None if found.untold else found

            return set((await eventually(told, 60, what="the leaders answer")).since)

    async def is_copied_once(self) -> None:
        """By the next owner, and so is what comes after."""
        async with self.unit.supervised() as runner:
            await eventually_mirrored(self.source, self.target)
            await self.writer.write(50)
            await eventually_mirrored(self.source, self.target)
            assert not runner.errors
        assert "transaction_left_open" in self.unit.ledger.codes


@pytest.mark.parametrize(
    ("data_on", "positions_on", "commit"),
    [
        pytest.param(DIES, DIES, True, id="both-committed"),
        pytest.param(DIES, DIES, False, id="both-aborted", marks=pytest.mark.long),
        pytest.param(STAYS, DIES, True, id="positions-committed", marks=pytest.mark.long),
        pytest.param(STAYS, DIES, False, id="positions-aborted"),
        pytest.param(DIES, STAYS, True, id="data-committed", marks=pytest.mark.long),
        pytest.param(DIES, STAYS, False, id="data-aborted", marks=pytest.mark.long),
    ],
)
async def test_a_forgotten_end_is_made_up_for(
    data_on: int, positions_on: int, commit: bool, two: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    scene = Scene(two, kafka, names.topic("orders"))
    await scene.made(data_on=data_on, positions_on=positions_on)
    await scene.dies_in_the_middle(commit=commit)
    hurt = {tp for tp, node in ((scene.data, data_on), (scene.positions, positions_on)) if node == DIES}
    assert await scene.left_open() == hurt
    await scene.is_copied_once()


async def test_an_incarnation_that_lives_on_makes_up_for_it_before_its_next_transaction(
    two: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    scene = Scene(two, kafka, names.topic("orders"))
    await scene.made(data_on=DIES, positions_on=STAYS)
    scene.steps.at = {POSITIONS_ACKED: [scene.die]}
    async with scene.unit.running():
        await scene.writer.write(50)
        await eventually(lambda: not scene.steps.at, what="the node dies")
        await markers_written(scene.connection, scene.name)
        await scene.back()
        await eventually_mirrored(scene.source, scene.target)
    assert "transaction_left_open" in scene.unit.ledger.codes
