"""Dumps on a broker that is set up unlike most: short metadata, quick compaction, offsets that are soon forgotten; and with strangers in
the dump's group (obs-dump.md §12.4, §12.8, §12.10)."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.jobs.obs_dump.steps import Outcome, Step
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.cli.running import Cli
from tests.integration.obs_dump.stories import delivered, has_read
from tests.model.logs import read_logs
from tests.model.replay import replay_files
from tests.support.bucket import count_bucket, left_uploads, read_objects
from tests.support.groups import committed_offsets
from tests.support.records import Record, RecordWriter, read_topic
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.service import Dump, Service, ServiceOptions, running_service
from tests.support.services import shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

METADATA_MAX = 500
"""Two entries of a short topic, one of a middling one, none of a long one."""
PROPERTIES = {"offset.metadata.max.bytes": str(METADATA_MAX), "log.cleaner.backoff.ms": "100"}
FORGETFUL = {
    "offsets.retention.minutes": "1",
    "offsets.retention.check.interval.ms": "1000",
    "transactional.id.expiration.ms": "5000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "1000",
}
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "200"}


@pytest.fixture(scope="module")
def odd() -> Iterator[KafkaCluster]:
    with shared(kafka_cluster(KafkaOptions(properties=PROPERTIES))) as cluster:
        yield cluster


@pytest.fixture
async def service(tmp_path: Path, odd: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy) -> AsyncIterator[Service]:
    async with running_service(tmp_path, ServiceOptions(odd.bootstrap_servers, s3, endpoint=proxied_s3.endpoint)) as running:
        yield running


async def test_a_broker_that_keeps_little_metadata_is_given_one_entry_at_a_time(
    service: Service, odd: KafkaCluster, s3: S3Server, proxied_s3: S3Proxy, bucket: str
) -> None:
    await create_topic(odd.bootstrap_servers, "short")
    writer = RecordWriter(odd.bootstrap_servers, "short")
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD)
    dump = await service.create_dump("short-dump", bucket, topics="short", flush_size=100)
    await writer.write(1000)
    await eventually(lambda: _was_refused(service), 60, what="the broker refuses the metadata")
    completes.release()
    await delivered(dump, 1000)
    await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []
    assert (await asyncio.to_thread(replay_files, [service.step_log])).partitions == 1


async def test_a_partition_whose_entry_does_not_fit_is_blocked_and_the_setting_is_named(
    service: Service, odd: KafkaCluster, bucket: str
) -> None:
    topic = "long-" * 40
    await create_topic(odd.bootstrap_servers, topic)
    await RecordWriter(odd.bootstrap_servers, topic).write(100)
    dump = await service.create_dump("long-dump", bucket, topics=topic, flush_size=100)

    async def blocked() -> Any:
        return [row["reason"] for row in (await dump.progress())["partitions"] if row["state"] == "blocked"]

    reasons = await eventually(blocked, 60, what="the partition is blocked")
    assert "offset.metadata.max.bytes" in reasons[0]["message"]


async def test_a_stranger_who_joins_the_group_and_commits_there_changes_nothing(
    service: Service, odd: KafkaCluster, s3: S3Server, bucket: str
) -> None:
    await create_topic(odd.bootstrap_servers, "joined", partitions=2)
    writer = RecordWriter(odd.bootstrap_servers, "joined", 2)
    dump = await service.create_dump("joined-dump", bucket, topics="joined", flush_size=100)
    await writer.write(300)
    await delivered(dump, 600)
    stranger = _consumer(odd, f"smartconnect.{dump.id}.r1")
    try:
        stranger.subscribe(["joined"])
        await eventually(lambda: _has_all(stranger, 2), 30, what="the stranger is a member and owns the partitions")
        stranger.commit(offsets=[TopicPartition("joined", partition, 10) for partition in (0, 1)], asynchronous=False)
        await writer.write(300)
        await delivered(dump, 1200)
        for pid in service.pids("worker"):
            os.kill(pid, signal.SIGKILL)
        await writer.write(300)
        await delivered(dump, 1800)
        assert len(stranger.assignment()) == 2
        await dump.drained()
    finally:
        stranger.close()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()
    assert await left_uploads(s3, bucket) == []


async def test_a_position_that_a_stranger_sets_back_while_the_dump_runs_is_not_obeyed_by_the_next_owner(
    service: Service, odd: KafkaCluster, s3: S3Server, bucket: str
) -> None:
    await create_topic(odd.bootstrap_servers, "reset", partitions=2)
    writer = RecordWriter(odd.bootstrap_servers, "reset", 2)
    await writer.write(300)
    dump = await service.create_dump("reset-dump", bucket, topics="reset", flush_size=100)
    await dump.caught_up(offsets=600)
    admin = AdminClient({"bootstrap.servers": odd.bootstrap_servers})
    back = ConsumerGroupTopicPartitions(f"smartconnect.{dump.id}.r1", [TopicPartition("reset", 0, 10)])
    await asyncio.to_thread(admin.alter_consumer_group_offsets([back])[back.group_id].result, 30)

    for epoch in (2, 3):
        for pid in service.pids("worker"):
            os.kill(pid, signal.SIGKILL)
        reason = await eventually(lambda epoch=epoch: _blocked_since(dump, epoch), 60, what=f"owners of epoch {epoch} block it")
        assert reason["code"] == "foreign_position"
        assert "reset-0" in reason["message"]
        assert "was set back from 300 to 10 by somebody else" in reason["message"]
    await writer.write(50)
    await has_read(dump, 650)
    await dump.drained()
    here = Cli(service.folder / "smart-connect.toml", in_process=True)
    (await here("positions", "reset-dump", "set", "reset", "0", "300")).assert_fine()
    await dump.act("resume")
    await has_read(dump, 700)
    await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()


async def test_a_position_that_is_set_back_while_the_dump_is_paused_is_obeyed(
    service: Service, odd: KafkaCluster, s3: S3Server, bucket: str
) -> None:
    await create_topic(odd.bootstrap_servers, "again")
    writer = RecordWriter(odd.bootstrap_servers, "again")
    await writer.write(300)
    dump = await service.create_dump("again-dump", bucket, topics="again", flush_size=100)
    await dump.caught_up(offsets=300)
    await dump.drained()
    admin = AdminClient({"bootstrap.servers": odd.bootstrap_servers})
    back = ConsumerGroupTopicPartitions(f"smartconnect.{dump.id}.r1", [TopicPartition("again", 0, 200)])
    await asyncio.to_thread(admin.alter_consumer_group_offsets([back])[back.group_id].result, 30)
    await dump.act("resume")
    await has_read(dump, 400)
    await dump.drained()
    starts = [stored.metadata["sc-start"] for stored in await read_objects(s3, bucket)]
    assert sorted(starts) == ["0", "100", "200", "200"]


async def test_a_compacted_topic_is_dumped_as_it_is_and_verified_to_the_last_byte(
    service: Service, odd: KafkaCluster, s3: S3Server, bucket: str
) -> None:
    await create_topic(odd.bootstrap_servers, "compacted", config=COMPACTED)
    for round_ in range(3):
        await asyncio.to_thread(_produce_keyed, odd.bootstrap_servers, round_)
    left = await eventually(lambda: _compacted(odd), 60, what="the cleaner has made holes", poll_s=0.25)
    dump = await service.create_dump("compacted-dump", bucket, topics="compacted", flush_size=50, store_keys=True)
    await has_read(dump, len(left))
    await dump.drained()
    lines = [line for stored in await read_objects(s3, bucket) for line in stored.values()]
    assert lines == [b"%s:%s" % (record.key, record.value) for record in left]
    said = await Cli(service.folder / "smart-connect.toml", in_process=True)("verify", "compacted-dump", "--deep", "--json")
    summary = said.assert_fine().json()["summary"]
    assert summary["wrong"] == 0
    assert summary["compared"] == summary["objects"] >= 3


@pytest.mark.long
async def test_a_paused_dump_keeps_its_positions_longer_than_the_broker_would(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    async with (
        kafka_cluster(KafkaOptions(properties=FORGETFUL)) as forgetful,
        running_service(tmp_path, ServiceOptions(forgetful.bootstrap_servers, s3)) as service,
    ):
        await _pause_until_others_are_forgotten(service, forgetful, s3, bucket)


async def _pause_until_others_are_forgotten(service: Service, forgetful: KafkaCluster, s3: S3Server, bucket: str) -> None:
    await create_topic(forgetful.bootstrap_servers, "kept", partitions=2)
    writer = RecordWriter(forgetful.bootstrap_servers, "kept", 2)
    dump = await service.create_dump("kept-dump", bucket, topics="kept", flush_size=100)
    await writer.write(250)
    await has_read(dump, 500)
    await dump.drained()
    admin = AdminClient({"bootstrap.servers": forgetful.bootstrap_servers})
    ours, forgotten = f"smartconnect.{dump.id}.r1", "forgotten"
    offsets = [TopicPartition("kept", partition, 1) for partition in (0, 1)]
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(forgotten, offsets)]).values():
        await asyncio.to_thread(future.result, 30)
    assert await committed_offsets(forgetful.bootstrap_servers, forgotten) == [1, 1]

    async def is_forgotten() -> bool:
        return not await committed_offsets(forgetful.bootstrap_servers, forgotten)

    await eventually(is_forgotten, 150, what="the broker forgets a group that nobody keeps")
    assert await committed_offsets(forgetful.bootstrap_servers, ours) == [250, 250]
    await writer.write(50)
    await dump.act("resume")
    await has_read(dump, 600)
    await dump.drained()
    (await count_bucket(s3, bucket, writer.expected)).assert_exactly_once()


def _was_refused(service: Service) -> bool:
    """Whether the broker has refused positions, as the step log tells; nothing is in it at first."""
    lines = read_logs([service.step_log]).lines if service.step_log.exists() else ()
    return any((line.event.step, line.event.outcome) == (Step.TXN_OFFSET_COMMIT, Outcome.REFUSED) for line in lines)


async def _blocked_since(dump: Dump, epoch: int) -> Any:
    """The reason why a partition is blocked, as owners of this epoch or later tell it."""
    progress = await dump.progress()
    assert min(unit["epoch"] for unit in progress["units"]) >= epoch
    assert all(unit["state"] in ("running", "retrying") for unit in progress["units"])
    return next((row["reason"] for row in progress["partitions"] if row["state"] == "blocked"), None)


def _consumer(cluster: KafkaCluster, group: str) -> Consumer:
    settings = {"bootstrap.servers": cluster.bootstrap_servers, "group.id": group, "enable.auto.commit": False, "log_level": 0}
    return Consumer({**settings, "auto.offset.reset": "earliest"})


def _has_all(consumer: Consumer, partitions: int) -> bool:
    consumer.poll(0.1)
    return len(consumer.assignment()) == partitions


def _produce_keyed(servers: str, round_: int) -> None:
    """The same keys in each round, with another stride, so that compaction leaves holes within batches."""
    producer = Producer({"bootstrap.servers": servers, "compression.type": "lz4", "linger.ms": 50, "log_level": 0})
    for number in range(0, 300, round_ + 1):
        producer.produce("compacted", b"%d of round %d" % (number, round_), b"key-%d" % number, partition=0)
    assert producer.flush(30) == 0


async def _compacted(cluster: KafkaCluster) -> Sequence[Record]:
    """The records that are left, once every key is there once; each look writes one more, which closes the segment."""
    closing = f"closes-{secrets.token_hex(4)}".encode()
    await RecordWriter(cluster.bootstrap_servers, "compacted").write_raw(0, b"a segment", key=closing)
    records = (await read_topic(cluster.bootstrap_servers, "compacted"))[0]
    keys = {record.key for record in records}
    return records if len(keys) == len(records) and records[-1].offset >= len(records) else ()
