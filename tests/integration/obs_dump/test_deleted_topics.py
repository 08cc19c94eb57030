"""A topic that is deleted is told of once, or blocks until a restart; what was promised of it appears (obs-dump.md §4 F5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.domain.progress import Level
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, STOP, Story
from tests.support.dump_unit import DumpUnit, blocked, caught_up, row_of
from tests.support.ids import RecordId
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import RecordWriter, WriterOptions
from tests.support.s3_answers import SLOW_DOWN
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

POLICIES = pytest.mark.parametrize("options", [CONTINUE, STOP], ids=["continue", "stop"])


@pytest.fixture
async def story(kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Story:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    return Story(kafka, s3, bucket, names.topic("orders"))


async def told(unit: DumpUnit, times: int = 2) -> None:
    await eventually(lambda: unit.ledger.codes.count("topic_deleted") >= times, 60, what=f"{times} partitions are told of")


async def test_a_deleted_topic_stops_its_partitions_until_a_restart_while_another_goes_on(story: Story, names: Names) -> None:
    unit = story.unit(STOP)
    other = names.topic("payments")
    await create_topic(story.servers, other)
    unit.spec = replace(unit.spec, topics=(story.topic, other))
    others = RecordWriter(story.servers, other, 1, WriterOptions(tag="other"))
    await story.writer.write(100)
    old = story.writer.expected
    async with unit.running() as runner:
        await caught_up(runner, 200)
        await delete_topics(story.servers, [story.topic])
        for number in (0, 1):
            message = await blocked(runner, story.topic, "topic_deleted", number)
            assert "was deleted" in message and "restart" in message
        await others.write(50)
        await story.holds(old, others.expected)
    for _ in range(2):
        unit.ledger.events.clear()
        async with unit.running() as runner:
            for number in (0, 1):
                await blocked(runner, story.topic, "topic_deleted", number)
        assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.ERROR, "topic_deleted")] * 2

    await story.create_when_gone()
    await story.write_new(30)
    async with unit.running() as runner:
        for number in (0, 1):
            assert "was deleted and made again" in await blocked(runner, story.topic, "gap", number)
        await others.write(50)
        await story.holds(old, others.expected)
    unit.run_number, unit.ledger.reported, unit.spec = 2, {}, replace(unit.spec, topics=(story.topic,))
    async with unit.running():
        await story.holds(old, others.expected, story.writer.expected)
    await story.is_tidy()


@POLICIES
async def test_a_topic_deleted_while_the_dump_rests_is_told_and_known_when_it_is_made_again(
    options: ObsDumpOptions, story: Story
) -> None:
    """The run began at the end of the old topic: that says nothing of the new one."""
    unit = story.unit(options)
    await story.writer.write(20)
    unit.ledger.starts_of = {(story.topic, number): 20 for number in (0, 1)}
    await story.writer.write(100)
    lost = [RecordId("old", number, sequence) for number in (0, 1) for sequence in range(20)]
    async with unit.running() as runner:
        await caught_up(runner, 240)
    await delete_topics(story.servers, [story.topic])
    await eventually(lambda: story.topic not in story.admin.list_topics(timeout=30).topics, what="the topic is gone")
    old = story.writer.expected
    async with unit.running() as runner:
        await told(unit)
        assert row_of(runner, story.topic).position is None
    async with unit.running() as runner:
        if options is STOP:
            await told(unit, 4)
        await story.create_when_gone()
        await story.write_new(30)
        if options is STOP:
            for number in (0, 1):
                await blocked(runner, story.topic, "gap", number)
            await story.holds(old, lost=lost)
            assert unit.ledger.codes == ["topic_deleted"] * 4 + ["gap"] * 2
        else:
            await story.holds(old, story.writer.expected, lost=lost)
            assert unit.ledger.codes == ["topic_deleted"] * 2 + ["topic_recreated"] * 2
    await story.is_tidy()


async def test_a_topic_that_brokers_did_not_know_for_a_moment_stops_nothing_for_good(
    story: Story, proxied_kafka: KafkaProxy
) -> None:
    unit = story.unit(STOP, reads=proxied_kafka.bootstrap_servers)
    await story.dumped(unit, 100)
    hidden = story.topic.encode()
    unknown = proxied_kafka.rewrite_answer(ApiKey.METADATA, lambda _, answer: answer.replace(hidden, hidden[::-1]), count=None)
    async with unit.running() as runner:
        for number in (0, 1):
            await blocked(runner, story.topic, "topic_deleted", number)
        unknown.remove()
        await story.writer.write(50)
        await story.holds(story.writer.expected)
        await caught_up(runner, 300)
        assert [row_of(runner, story.topic, number).reason for number in (0, 1)] == [None, None]
    await story.is_tidy()


@POLICIES
async def test_an_object_that_waits_to_appear_when_its_topic_goes_appears_before_the_dump_rests(
    options: ObsDumpOptions, story: Story, proxied_s3: S3Proxy
) -> None:
    """Kafka forgets the position that names it: no next owner would hear of it."""
    unit = story.unit(options, writes=proxied_s3.endpoint)
    slow = proxied_s3.refuse(Operation.COMPLETE_MULTIPART_UPLOAD, SLOW_DOWN, count=None)
    await story.writer.write(100)
    async with unit.running():
        await slow.hit(2)
        await delete_topics(story.servers, [story.topic])
        await told(unit)
        slow.left = 2
    await story.holds(story.writer.expected)
    await story.is_tidy()
