"""The life of a dump as its user sees it: created over the API, records in the bucket once, paused, resumed, restarted, deleted."""

from __future__ import annotations

import asyncio
import os
import signal

from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import drained_at, has_read
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, left_uploads, read_objects
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.service import Service
from tests.support.waiting import eventually


async def test_every_record_is_in_the_bucket_once_after_a_pause(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=4)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 4, WriterOptions(codec="lz4", value_size=100))
    await writer.write(20_000)
    await writer.write_transaction(100)
    await writer.write_transaction(100, Outcome.ABORT)
    dump = await service.create_dump("orders-dump", bucket, topics=topic)
    assert (await dump.show())["status"] in ("CREATING", "RUNNING")
    await dump.shows("RUNNING")
    await writer.write(1000)
    await has_read(dump, 4 * 21_100)
    await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_objects_appear_by_themselves_after_the_interval_and_never_without_records(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 2)
    await writer.write(10, [0])
    dump = await service.create_dump("idle-dump", bucket, topics=topic)
    await dump.caught_up(offsets=10)
    objects = await read_objects(s3, bucket)
    assert [stored.key.rsplit("/", 1)[1] for stored in objects] == [f"{topic}+0+0000000000"]
    assert objects[0].metadata["sc-task"] == dump.id
    assert (objects[0].metadata["sc-start"], objects[0].metadata["sc-end"], objects[0].metadata["sc-count"]) == ("0", "10", "10")


async def test_a_resumed_dump_goes_on_where_it_stopped_and_a_restarted_one_begins_again(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(100)
    dump = await service.create_dump("paused-dump", bucket, topics=topic)
    await has_read(dump, 100)
    await dump.drained()
    await writer.write(50)
    await dump.act("resume")
    await has_read(dump, 150)
    await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    await dump.act("restart")
    await dump.shows("RUNNING")
    await has_read(dump, 150)
    await dump.drained()
    runs = [stored.metadata["sc-run"] for stored in await read_objects(s3, bucket)]
    assert runs.count("2") >= 1
    assert sorted(set(runs)) == ["1", "2"]
    second = [value for stored in await read_objects(s3, bucket) if stored.metadata["sc-run"] == "2" for value in stored.values()]
    assert len(second) == 150


async def test_a_deleted_dump_leaves_its_objects_and_nothing_else(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(100)
    dump = await service.create_dump("short-dump", bucket, topics=topic)
    await has_read(dump, 100)
    await dump.delete()
    status, _ = await service.call("GET", f"{service.instance_url}/connector/tasks/{dump.id}")
    assert status == 404
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    await eventually(
        lambda: all(dump.id not in group.group_id for group in admin.list_consumer_groups().result().valid),
        60,
        what="groups are gone",
    )
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_twice(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=4)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 4, WriterOptions(codec="lz4", value_size=500))
    dump = await service.create_dump("killed-dump", bucket, topics=topic, flush_size=700)
    await dump.shows("RUNNING")
    for round_ in range(6):
        await writer.write(4000)
        pids = await eventually(lambda: service.pids("worker"), 60, what="a worker lives")
        os.kill(pids[round_ % len(pids)], signal.SIGKILL)
    await drained_at(dump, 4 * 24_000)
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    report = await asyncio.to_thread(replay_files, [service.step_log])
    assert report.partitions == 4
