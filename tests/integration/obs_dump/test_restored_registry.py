"""A registry that was restored from a backup knows less than Kafka does: nothing of the runs it has forgotten is overwritten, and nothing
of them stays behind (architecture.md §4)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import has_read
from tests.support.bucket import read_objects
from tests.support.groups import committed_offsets
from tests.support.records import RecordWriter
from tests.support.service import Service
from tests.support.waiting import eventually


async def test_a_later_run_than_the_registry_knows_fails_the_task_and_a_restart_begins_above_it(
    service: Service, tmp_path: Path, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(100)
    dump = await service.create_dump("restored-dump", bucket, topics=topic)
    await has_read(dump, 100)
    await dump.drained()
    await service.stop()
    backup = tmp_path / "backup"
    copy_registry(service.folder, backup)
    await service.start()
    for _ in range(2):
        await dump.act("restart")
        await dump.shows("RUNNING")
        await has_read(dump, 100)
        await dump.drained()
    await service.stop()
    copy_registry(backup, service.folder)
    await service.start()

    await dump.act("resume")
    await dump.shows("FAILED")
    progress = await dump.progress()
    assert (progress["run"], progress["reason"]["code"]) == (1, "later_run_found")
    assert "restart the task to begin a run above it" in progress["reason"]["message"]
    assert await committed_offsets(kafka.bootstrap_servers, f"smartconnect.{dump.id}.r3") == [100]

    await dump.act("restart")
    await dump.shows("RUNNING")
    await has_read(dump, 100)
    assert (await dump.progress())["run"] == 4
    await dump.drained()
    assert [stored.metadata["sc-run"] for stored in await read_objects(s3, bucket)].count("4") >= 1


async def test_deleting_a_task_takes_the_groups_of_forgotten_runs_along(
    service: Service, kafka: KafkaCluster, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    dump = await service.create_dump("forgetful-dump", bucket, topics=topic, start_later=True)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    await dump.act("restart")
    await dump.shows("RUNNING")
    await dump.drained()
    await asyncio.to_thread(commit_in_run, admin, dump.id, 7, topic)
    await dump.delete()
    await eventually(lambda: not groups_of(admin, dump.id), 60, what="the groups of all runs are gone")


def copy_registry(source: Path, target: Path) -> None:
    """As a stopped service leaves it."""
    target.mkdir(exist_ok=True)
    for old in target.glob("registry.db*"):
        old.unlink()
    for file in source.glob("registry.db*"):
        shutil.copy(file, target / file.name)


def commit_in_run(admin: AdminClient, task: str, run: int, topic: str) -> None:
    wanted = ConsumerGroupTopicPartitions(f"smartconnect.{task}.r{run}", [TopicPartition(topic, 0, 0)])
    admin.alter_consumer_group_offsets([wanted])[wanted.group_id].result(30)


def groups_of(admin: AdminClient, task: str) -> list[str]:
    return [group.group_id for group in admin.list_consumer_groups().result(30).valid if task in group.group_id]
