"""kill -9 and freezes under load, between two real clusters, the whole service running: exactly once in order, and every step of the
transaction was hit (kafka-replication.md §15.4, §15.5)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.kills import STEPS, Killer
from tests.support.mirror import Side, assert_mirrored
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.replication import create_replication
from tests.support.service import Service, ServiceOptions, running_service
from tests.support.services import Names
from tests.support.topics import create_topic

PARTITIONS = 4


@asynccontextmanager
async def load(writer: RecordWriter) -> AsyncIterator[None]:
    """Records, committed and aborted transactions, without end."""
    stopping = asyncio.Event()

    async def write() -> None:
        while not stopping.is_set():
            await writer.write(60)
            await writer.write_transaction(20)
            await writer.write_transaction(10, Outcome.ABORT)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        stopping.set()
        await writing


@pytest.fixture
async def service(tmp_path: Path, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> AsyncIterator[Service]:
    options = ServiceOptions(kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    async with running_service(tmp_path, options) as running:
        yield running


class Story:
    """A topic under load and the task that copies it."""

    def __init__(self, service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, topic: str) -> None:
        self._service, self.topic = service, topic
        self.source, self.target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
        self.writer = RecordWriter(peer_kafka.bootstrap_servers, topic, PARTITIONS, WriterOptions(codec="lz4", value_size=100))

    async def begin(self) -> None:
        await create_topic(self.source.servers, self.topic, partitions=PARTITIONS)
        await self.writer.write(200)
        self.task = await create_replication(self._service, "killed-copy", topics=self.topic, task_num=2)
        await self.task.caught_up()

    async def end(self) -> None:
        """Nothing is written any more: what was is on the target once, in order, and so is what comes after all this."""
        await self.writer.write(50)
        ends = await self._ends()
        await self.task.caught_up(120, offsets=ends)
        await assert_mirrored(self.source, self.target)

    async def _ends(self) -> int:
        """The sum of the source's ends, markers and aborted records included, less what follows the last record that can be read."""
        records = await self.source.read()
        return sum(of_partition[-1].offset + 1 for of_partition in records.values())


async def test_workers_killed_at_each_step_of_the_transaction(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    story = Story(service, kafka, peer_kafka, names.topic("orders"))
    await story.begin()
    killer = Killer(service)
    async with load(story.writer):
        for step in STEPS:
            if step.startswith("init"):
                await killer.kill_at("acked")  # whoever takes over then goes through its start
            assert await killer.kill_at(step), f"no worker was found at {step}; hits: {killer.report()}"
    await story.end()
    print(killer.report())


async def test_a_frozen_worker_wakes_up_and_nothing_of_it_counts(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    story = Story(service, kafka, peer_kafka, names.topic("orders"))
    await story.begin()
    async with load(story.writer):
        frozen = service.pids("worker")[0]
        os.kill(frozen, signal.SIGSTOP)
        await story.task.moves_on(30)
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGCONT)
    await story.end()


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_fifty_deaths(service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    """Random steps, random processes, the parent now and then; the seed is printed."""
    seed = int(os.environ.get("SMARTCONNECT_SEED", random.getrandbits(32)))
    dice = random.Random(seed)
    print(f"SMARTCONNECT_SEED={seed}")
    story = Story(service, kafka, peer_kafka, names.topic("orders"))
    await story.begin()
    killer = Killer(service)
    plan = [step for _ in range(5) for step in STEPS] + ["parent", "freeze"] * 3
    dice.shuffle(plan)
    async with load(story.writer):
        for what in plan:
            if what == "parent":
                service.kill_parent()
                await service.start()
            elif what == "freeze":
                pid = dice.choice(service.pids("worker"))
                os.kill(pid, signal.SIGSTOP)
                await story.task.moves_on(30)
            elif not await killer.kill_at(what, 10) and what.startswith("init"):
                await killer.kill_at("acked")
                await killer.kill_at(what)
    await story.end()
    print(killer.report())
    assert all(killer.hits[step] for step in STEPS), killer.report()
