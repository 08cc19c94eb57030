"""`positions`: a paused task's single partitions are shown and moved, also those that nothing else could cure."""

from __future__ import annotations

import asyncio

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from smartconnect.registry import Registry
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.conftest import MakeTopic
from tests.integration.cli.running import Cli, SigningService
from tests.integration.obs_dump.story import Story
from tests.support.bucket import read_objects
from tests.support.ids import RecordId
from tests.support.records import RecordWriter
from tests.support.service import Dump
from tests.support.waiting import eventually


async def read(dump: Dump, count: int) -> bool:
    return bool((await dump.progress())["counters"]["records_in"] >= count)


async def blocked(dump: Dump, code: str) -> bool:
    rows = (await dump.progress())["partitions"]
    return any(row["state"] == "blocked" and row["reason"]["code"] == code for row in rows)


async def test_positions_are_shown_set_and_skipped_with_event_and_audit(
    running: SigningService, here: Cli, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic(partitions=2)
    writer = RecordWriter(kafka.bootstrap_servers, topic, 2)
    await writer.write(100)
    dump = await running.create_dump("moved-dump", bucket, topics=topic)
    await eventually(lambda: read(dump, 200), 60, what="records were read")
    (await here("positions", "moved-dump", "skip", topic, "0")).assert_one_line("not paused", "tasks pause")
    await dump.drained()
    await writer.write(50)

    shown = (await here("positions", "moved-dump", "show", "--json")).assert_fine().json()["positions"]
    assert [(row["partition"], row["position"], row["log_end"]) for row in shown] == [(0, 100, 150), (1, 100, 150)]
    (await here("positions", "moved-dump", "set", topic, "0", "999")).assert_one_line("offsets 0 to 150")
    (await here("positions", "moved-dump", "set", topic, "7", "0")).assert_one_line("no partition")
    moved = (await here("positions", "moved-dump", "set", topic, "0", "90", "--json")).assert_fine().json()
    assert (moved["before"], moved["after"]) == (100, 90)
    said = (await here("positions", "moved-dump", "skip", topic, "1")).assert_fine().out
    assert said == f"position of {topic}-1 was set from 100 to 150 by hand: offsets [100, 150) are not delivered\n"

    progress = await dump.progress()
    assert [event["code"] for event in progress["events"][:2]] == ["gap", "position_set"]
    assert {(row["partition"], row["position"]) for row in progress["partitions"]} == {(0, 90), (1, 150)}
    registry = await Registry.open(f"sqlite:///{running.registry}", running.folder / "registry.key")
    try:
        audits = [event for event in await registry.audit_events() if event.name == "setConnectorPosition"]
    finally:
        await registry.close()
    assert len(audits) == 2
    assert "[100, 150) are not delivered" in audits[0].details

    await dump.act("resume")
    await eventually(lambda: read(dump, 260), 60, what="the rest was read")
    await dump.drained()
    starts = {stored.metadata["sc-start"] for stored in await read_objects(s3, bucket) if "+0+" in stored.key}
    assert starts == {"0", "90"}
    assert sum(len(stored.values()) for stored in await read_objects(s3, bucket)) == 260


async def test_a_position_written_by_somebody_else_is_cured_by_setting_it(
    running: SigningService, here: Cli, kafka: KafkaCluster, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(100)
    dump = await running.create_dump("foreign-dump", bucket, topics=topic)
    await eventually(lambda: read(dump, 100), 60, what="records were read")
    await dump.drained()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    foreign = TopicPartition(topic, 0, 40, metadata="a tool")
    group = f"smartconnect.{dump.id}.r1"
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [foreign])]).values():
        await asyncio.to_thread(future.result, 30)
    await dump.act("resume")
    await eventually(lambda: blocked(dump, "foreign_position"), 60, what="the partition is blocked")
    await dump.drained()
    shown = (await here("positions", "foreign-dump", "show", "--json")).assert_fine().json()["positions"]
    assert shown[0]["foreign"] is True
    (await here("positions", "foreign-dump", "set", topic, "0", "100")).assert_fine()
    await writer.write(20)
    await dump.act("resume")
    await eventually(lambda: read(dump, 120), 60, what="the partition moves again")
    assert not await blocked(dump, "foreign_position")


async def test_a_position_that_is_gone_is_cured_by_skipping(
    running: SigningService, here: Cli, kafka: KafkaCluster, bucket: str, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    writer = RecordWriter(kafka.bootstrap_servers, topic)
    await writer.write(100)
    dump = await running.create_dump("gone-dump", bucket, topics=topic)
    await eventually(lambda: read(dump, 100), 60, what="records were read")
    await dump.drained()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for future in admin.delete_consumer_groups([f"smartconnect.{dump.id}.r1"]).values():
        await asyncio.to_thread(future.result, 30)
    await dump.act("resume")
    await eventually(lambda: blocked(dump, "position_gone"), 60, what="the partition is blocked")
    await dump.drained()
    said = (await here("positions", "gone-dump", "skip", topic, "0")).assert_fine().out
    assert "there was none before" in said
    await writer.write(20)
    await dump.act("resume")
    await eventually(lambda: read(dump, 120), 60, what="the partition moves again")


async def test_a_position_set_in_a_topic_that_was_made_again_while_the_dump_was_paused_is_obeyed(
    running: SigningService, here: Cli, kafka: KafkaCluster, s3: S3Server, bucket: str, make_topic: MakeTopic
) -> None:
    story = Story(kafka, s3, bucket, await make_topic(partitions=2))
    await story.writer.write(100)
    dump = await running.create_dump("remade-dump", bucket, topics=story.topic)
    await eventually(lambda: read(dump, 200), 60, what="records were read")
    await dump.drained()
    old = await story.made_again(300)

    (await here("positions", "remade-dump", "set", story.topic, "0", "200")).assert_fine()
    await dump.act("resume")
    await eventually(lambda: read(dump, 200 + 100 + 300), 60, what="the rest was read")
    await dump.drained()
    await story.holds(old, story.writer.expected, lost=[RecordId("new", 0, sequence) for sequence in range(200)])
    codes = [event["code"] for event in (await dump.progress())["events"]]
    assert codes.count("topic_recreated") == 1, "only of the other partition"
