"""The whole life of a dump on the older Kafka that we promise to serve (obs-dump.md §12.11, behind `make chaos`)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.kafka import KafkaOptions, kafka_cluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.cli.running import Cli
from tests.integration.obs_dump.stories import drained_at, has_read
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, left_uploads
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.service import ServiceOptions, running_service
from tests.support.topics import create_topic
from tests.support.waiting import eventually

PARTITIONS = 3


@pytest.mark.long
async def test_kafka_3_9_is_dumped_through_a_kill_a_restart_of_the_broker_and_a_delete(
    tmp_path: Path, s3: S3Server, bucket: str
) -> None:
    async with kafka_cluster(KafkaOptions(version="3.9.1")) as old:
        await create_topic(old.bootstrap_servers, "orders", partitions=PARTITIONS)
        writer = RecordWriter(old.bootstrap_servers, "orders", PARTITIONS, WriterOptions(codec="zstd", value_size=200))
        async with running_service(tmp_path, ServiceOptions(old.bootstrap_servers, s3)) as service:
            doctor = await Cli(tmp_path / "smart-connect.toml", in_process=True)(
                "doctor", "--instance", service.options.instance_id
            )
            assert doctor.code == 0, doctor
            dump = await service.create_dump("old-dump", bucket, topics="orders", flush_size=300)
            await writer.write(1000)
            await has_read(dump, PARTITIONS * 1000)
            os.kill(service.pids("worker")[0], signal.SIGKILL)
            await writer.write(1000)
            await old.kill()
            await old.start()
            await writer.write(500)
            await drained_at(dump, PARTITIONS * 2500)
            await dump.act("resume")
            await writer.write_transaction(100, Outcome.ABORT)
            await writer.write_transaction(100)
            await dump.caught_up(90, offsets=PARTITIONS * 2702)
            verified = await Cli(tmp_path / "smart-connect.toml", in_process=True)("verify", "old-dump", "--deep")
            assert verified.code == 0, verified
            await dump.delete()
            admin = AdminClient({"bootstrap.servers": old.bootstrap_servers})
            await eventually(
                lambda: all(dump.id not in group.group_id for group in admin.list_consumer_groups().result().valid),
                60,
                what="its groups are gone",
            )
            report = await asyncio.to_thread(replay_files, [service.step_log])
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    assert report.partitions == PARTITIONS
