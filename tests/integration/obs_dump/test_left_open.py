"""A transaction whose end Kafka forgets because the group's partition had no leader when it came (KAFKA-20734): nothing is lost, nothing
is twice, and the next owner does not wait for ever (obs-dump.md §1, step 4). Two real brokers: the one that coordinates transactions stays,
the one with the group dies in the middle."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.domain.planning import UnitName, transactional_id
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.obs_dump.steps import Outcome, Step, StepEvent
from smartconnect.kafka.cluster import GROUP, TRANSACTION
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.process import ServerProcess
from smartconnect.sandbox.s3 import S3Server
from smartconnect.settings import KafkaConnectionSettings
from tests.support.bucket import count_bucket
from tests.support.dump_unit import DumpUnit, caught_up, dump_spec
from tests.support.records import RecordWriter
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.transactions import markers_written
from tests.support.waiting import eventually

STAYS, DIES = 0, 1


@pytest.fixture(scope="module")
def two() -> Iterator[KafkaCluster]:
    alone = {"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1"}
    with shared(kafka_cluster(KafkaOptions(nodes=2, properties=alone))) as cluster:
        yield cluster


class OwnerDies(Exception):
    """In the middle of a transaction."""


@dataclass
class Death:
    """A step log that, once armed, brings death as soon as offsets are in a transaction: to a server, and to who has put them there. It
    notes whether the transaction was committed."""

    node: ServerProcess
    of_owner: bool
    of_node: bool = True
    armed: bool = False
    dead: bool = False
    committed: bool = False
    enabled: bool = field(default=True, init=False)

    def log(self, event: StepEvent) -> None:
        if self.armed and (event.step, event.outcome) == (Step.TXN_OFFSET_COMMIT, Outcome.OK):
            self.armed, self.dead = False, True
            if self.of_node:
                os.kill(self.node.pid, signal.SIGKILL)
            if self.of_owner:
                raise OwnerDies
        if self.dead and (event.step, event.outcome) == (Step.END_COMMIT, Outcome.OK):
            self.committed = True


class Scene:
    """A dump whose group lies on the node that dies, and whose transactions the other one coordinates."""

    def __init__(self, two: KafkaCluster, s3: S3Server, bucket: str, topic: str, *, owner_dies: bool) -> None:
        self.cluster, self.node, self.topic = two, two.nodes[DIES], topic
        self.connection = KafkaConnectionSettings(bootstrap_servers=two.bootstrap_servers)
        self.writer = RecordWriter(two.bootstrap_servers, topic)
        self.death = Death(self.node, owner_dies)
        spec = dump_spec(s3, bucket, [topic], ObsDumpOptions(refresh_interval_s=0.5))
        self.unit = DumpUnit(two.bootstrap_servers, s3.endpoint, s3.region, spec, steps=self.death)

    @property
    def name(self) -> str:
        return transactional_id(self.unit.task_id, UnitName("dump", 1, 0))

    async def begin(self) -> None:
        await create_topic(self.cluster.bootstrap_servers, self.topic, replicas=2)
        stays, dies = (f":{self.cluster.ports[node].client})" for node in (STAYS, DIES))
        async with open_cluster(self.connection, client_id="tests") as client:
            while True:
                group = await client.coordinator(GROUP, self.unit.group)
                coordinator = await client.coordinator(TRANSACTION, self.name)
                if group.peer.endswith(dies) and coordinator.peer.endswith(stays):
                    break
                self.unit.task_id = f"dump-{random.getrandbits(64):016x}"
        await self.writer.write(150)

    async def until_ended(self) -> None:
        """One more transaction, whose end finds the group's partition without a leader if its node dies."""
        self.death.armed, self.death.dead = True, False
        await self.writer.write(150)
        if self.death.of_owner:
            await eventually(lambda: self.death.dead, what="the owner dies")
            async with open_cluster(self.connection, client_id="tests") as client:
                await TransactionalId(client, self.name).initialise()
        else:
            await eventually(lambda: self.death.committed, what="the transaction is committed behind the node's death")
        await markers_written(self.connection, self.name)

    async def back(self) -> None:
        await self.node.kill()
        await self.node.start()


@pytest.mark.parametrize(
    "owner_dies", [pytest.param(False, id="committed"), pytest.param(True, id="aborted", marks=pytest.mark.long)]
)
async def test_the_next_owner_makes_up_for_a_forgotten_end(
    owner_dies: bool, two: KafkaCluster, s3: S3Server, bucket: str, names: Names
) -> None:
    scene = Scene(two, s3, bucket, names.topic("orders"), owner_dies=owner_dies)
    await scene.begin()
    async with scene.unit.killed() as runner:
        await caught_up(runner, 150)
        await scene.until_ended()
    await scene.back()
    await scene.writer.write(150)  # what would be read again would be cut into other objects
    async with scene.unit.running() as runner:
        await caught_up(runner, 450)
    assert "transaction_left_open" in scene.unit.ledger.codes
    (await count_bucket(s3, bucket, scene.writer.expected)).assert_exactly_once()


async def test_an_owner_that_lives_on_makes_up_for_it_before_its_next_transaction(
    two: KafkaCluster, s3: S3Server, bucket: str, names: Names
) -> None:
    """So what the next owner aborts is its last transaction alone."""
    scene = Scene(two, s3, bucket, names.topic("orders"), owner_dies=False)
    await scene.begin()
    async with scene.unit.killed() as runner:
        await caught_up(runner, 150)
        await scene.until_ended()
        await scene.back()
        scene.death.of_node, scene.death.of_owner = False, True
        await scene.until_ended()
    async with scene.unit.running() as runner:
        await caught_up(runner, 450)
    (await count_bucket(s3, bucket, scene.writer.expected)).assert_exactly_once()
