"""Machines that stand still in the midst of a replication's transactions and wake up late, between two real clusters: exactly once in
order, with every step of the transaction hit (kafka-replication.md §15.5)."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.under_load import PARTITIONS, Scene, Story, load
from tests.integration.kafka_replication.zombies import ANSWERS, REQUESTS, Halt, Machines
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import Side
from tests.support.service import ServiceOptions, running_service
from tests.support.services import Names

_SOMETIMES_DIES = 0.2


@pytest.fixture
async def machines(
    tmp_path: Path, kafka: KafkaCluster, proxied_kafka: KafkaProxy, peer_kafka: KafkaCluster, names: Names
) -> AsyncIterator[Machines]:
    """A topic and its copy; each partition is a unit's own."""
    topic = names.topic("orders")
    options = ServiceOptions(proxied_kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    async with AsyncExitStack() as running:
        service = await running.enter_async_context(running_service(tmp_path, options))
        source, target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
        story = Story(Scene(service, source, target, how={"task_num": PARTITIONS}))
        await story.begin()
        yield Machines(story, proxied_kafka, tmp_path, running)


async def play(machines: Machines, rounds: Sequence[tuple[Sequence[Halt], bool]]) -> None:
    """Round after round under load; then the target is the source's mirror."""
    async with load(machines.story.writer):
        for halts, wakes in rounds:
            await machines.stand_still(halts, wakes=wakes)
            print(*halts, "" if wakes else "(never wakes)", flush=True)
    await machines.story.end()
    print("hits:", dict(machines.hits), "the last words of the woken:", dict(machines.woken))
    assert not [halt for halt in (*REQUESTS, *ANSWERS) if not machines.hits[str(halt)]]
    assert machines.woken["fenced"]


async def test_a_machine_wakes_up_and_nothing_of_it_counts(machines: Machines) -> None:
    """Frozen with every request of the transaction on its way, then with every answer."""
    await play(machines, [(REQUESTS, True), (ANSWERS, True)])


@pytest.mark.long
@pytest.mark.timeout(7000)
async def test_fifty_machines_wake_up(machines: Machines) -> None:
    """Each unit at a random step; now and then the machine dies, and only what it had sent arrives late. The seed is printed."""
    seed = int(os.environ.get("SMARTCONNECT_SEED", random.getrandbits(32)))
    dice = random.Random(seed)
    print(f"SMARTCONNECT_SEED={seed}")
    halts = (*REQUESTS, *ANSWERS)
    await play(machines, [(dice.choices(halts, k=PARTITIONS), dice.random() >= _SOMETIMES_DIES) for _ in range(50)])
