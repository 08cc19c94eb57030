"""The other Kafka versions that we promise, on either side: exactly once through kills (kafka-replication.md §10, behind `make chaos`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KAFKA_VERSION, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.kills import Killer
from tests.integration.kafka_replication.under_load import Scene, Story, load
from tests.support.mirror import Side
from tests.support.service import ServiceOptions, running_service
from tests.support.services import Names

V3_9, V3_3 = "3.9.1", "3.3.2"
STEPS = ("produce.sent", "positions.sent", "end.sent")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("source_version", "target_version"), [(V3_9, V3_9), (V3_3, V3_3), (V3_3, KAFKA_VERSION), (KAFKA_VERSION, V3_3)]
)
async def test_older_kafka_is_copied_exactly_once_through_kills(
    tmp_path: Path, names: Names, source_version: str, target_version: str
) -> None:
    """Groups are synchronised meanwhile: their calls too must meet."""
    async with (
        kafka_cluster(KafkaOptions(version=source_version)) as source,
        kafka_cluster(KafkaOptions(version=target_version)) as target,
        running_service(tmp_path, ServiceOptions(target.bootstrap_servers, peer_servers=source.bootstrap_servers)) as service,
    ):
        topic = names.topic("orders")
        sides = Side(source.bootstrap_servers, topic), Side(target.bootstrap_servers, topic)
        story = Story(Scene(service, *sides, how={"sync_consumer_offsets_enabled": True}))
        await story.begin()
        killer = Killer(service)
        async with load(story.writer):
            for step in STEPS:
                assert await killer.kill_at(step), f"no worker was found at {step}; hits: {killer.report()}"
            await story.task.moves_on()
        await story.end()
