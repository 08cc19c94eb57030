"""A dump that grows or is changed while records keep coming: nothing is lost, nothing is twice (obs-dump.md §12.9, §12.10)."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.obs_dump.stories import delivered, drained_at, has_read, published, steady_load
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, left_uploads, read_objects
from tests.support.ids import count_ids
from tests.support.records import RecordWriter, WriterOptions
from tests.support.service import Dump, Service
from tests.support.services import Names
from tests.support.waiting import eventually


async def test_what_is_found_later_is_dumped_from_its_first_record_though_the_dump_began_at_the_end(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic, names: Names
) -> None:
    first = await make_topic("first")
    await RecordWriter(kafka.bootstrap_servers, first, 1, WriterOptions(tag="before")).write(100)
    pattern = f"{names.base}[.].*"
    dump = await service.create_dump("growing-dump", bucket, topics_regex=pattern, consumer_strategy="latest")
    await dump.shows("RUNNING")
    await eventually(lambda: _knows(dump, 1), 60, what="the first partition has its start")
    seen = RecordWriter(kafka.bootstrap_servers, first, 1, WriterOptions(tag="after"))
    await seen.write(50)

    later = RecordWriter(kafka.bootstrap_servers, await make_topic("second"), 1, WriterOptions(tag="topic"))
    await later.write(70)
    await has_read(dump, 120)
    added = RecordWriter(kafka.bootstrap_servers, first, 3, WriterOptions(tag="partition"))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    await asyncio.to_thread(admin.create_partitions([NewPartitions(first, 3)])[first].result, 30)
    await added.write(30, [1, 2])
    await has_read(dump, 180)
    await dump.drained()

    values = [stored.values() for stored in await read_objects(s3, bucket)]
    count_ids(values, {**seen.expected, **later.expected, **added.expected}).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_three_units_and_two_again_under_load_lose_and_double_nothing(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=6)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 6, WriterOptions(codec="lz4", value_size=200))
    dump = await service.create_dump("planned-dump", bucket, topics=topic, flush_size=150)
    async with steady_load(writer, 20):
        await delivered(dump, 1)
        for units in (3, 2):
            await dump.modify(sink_task={"task_num": units})
            await _runs_as(dump, units)
            await delivered(dump, await published(dump) + 6 * 150)
    await drained_at(dump, sum(writer.expected.values()))
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    report = await asyncio.to_thread(replay_files, [service.step_log])
    assert report.partitions == 6


CHANGES: Final = (
    ({"flush_size": 100}, "dump/*/*/*/*/*/*/*"),
    ({"obs_path": "elsewhere"}, "elsewhere/*/*/*/*/*/*/*"),
    ({"partition_format": "yyyy"}, "elsewhere/*/*/*"),
)
"""One after the other, and where objects lie then: by topic, and by minute or year."""


async def test_a_dump_modified_under_load_goes_on_with_the_new_values_and_loses_nothing(
    service: Service, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=4)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 4, WriterOptions(codec="zstd", value_size=200))
    dump = await service.create_dump("changed-dump", bucket, topics=topic, flush_size=150)
    async with steady_load(writer, 20):
        await delivered(dump, 1)
        for change, place in CHANGES:
            await dump.modify(sink_task=change)
            await eventually(partial(_holds_objects, s3.buckets / bucket, place), 60, what=f"objects as after {change}")
            await delivered(dump, await published(dump) + 4 * 300)
    await drained_at(dump, sum(writer.expected.values()))
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    objects = await read_objects(s3, bucket)
    moved = [stored for stored in objects if stored.key.startswith("elsewhere/")]
    assert {len(stored.key.split("/")) for stored in moved} == {8, 4}  # minutes, and then years only
    assert 100 in {len(stored.values()) for stored in moved}
    assert 150 in {len(stored.values()) for stored in objects if stored not in moved}


def _holds_objects(bucket: Path, place: str) -> bool:
    return any(path.is_file() for path in bucket.glob(place))


async def _knows(dump: Dump, partitions: int) -> bool:
    rows = (await dump.progress())["partitions"]
    return len(rows) == partitions and all(row["position"] is not None for row in rows)


async def _runs_as(dump: Dump, units: int) -> None:
    async def does() -> bool:
        shown = (await dump.progress())["units"]
        return len(shown) == units and all(unit["state"] == "running" for unit in shown)

    await eventually(does, 60, what=f"{units} units of one plan run")
