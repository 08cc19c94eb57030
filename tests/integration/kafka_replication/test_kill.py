"""kill -9 under load, between two real clusters, the whole service running: exactly once in order, and every step of the transaction was
hit (kafka-replication.md §15.4)."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.kills import STEPS, Killer
from tests.integration.kafka_replication.under_load import Scene, Story, load
from tests.support.mirror import Side
from tests.support.service import Service, ServiceOptions, running_service
from tests.support.services import Names
from tests.support.waiting import eventually


@pytest.fixture
async def service(tmp_path: Path, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> AsyncIterator[Service]:
    options = ServiceOptions(kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    async with running_service(tmp_path, options) as running:
        yield running


def story_of(service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, topic: str) -> Story:
    return Story(Scene(service, Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)))


async def test_workers_killed_at_each_step_of_the_transaction(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    story = story_of(service, kafka, peer_kafka, names.topic("orders"))
    await story.begin()
    killer = Killer(service)
    async with load(story.writer):
        for step in STEPS:
            if step.startswith("init"):
                await killer.kill_at("acked")  # whoever takes over then goes through its start
            assert await killer.kill_at(step), f"no worker was found at {step}; hits: {killer.report()}"
    await story.end()
    print(killer.report())


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_fifty_deaths(service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    """Random steps, random processes, the parent now and then; the seed is printed."""
    seed = int(os.environ.get("SMARTCONNECT_SEED", random.getrandbits(32)))
    dice = random.Random(seed)
    print(f"SMARTCONNECT_SEED={seed}")
    story = story_of(service, kafka, peer_kafka, names.topic("orders"))
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
                pid = dice.choice(await eventually(lambda: service.pids("worker"), what="a worker lives"))
                os.kill(pid, signal.SIGSTOP)
                await story.task.moves_on(30)
            elif not await killer.kill_at(what, 10) and what.startswith("init"):
                await killer.kill_at("acked")
                await killer.kill_at(what)
    await story.end()
    print(killer.report())
    assert all(killer.hits[step] for step in STEPS), killer.report()
