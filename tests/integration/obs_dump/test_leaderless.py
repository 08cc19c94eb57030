"""A partition whose leader is away keeps nobody waiting, and "not told now" is no offset: it is begun, or goes on, where it should as soon
as its leader is back (obs-dump.md §4 F4, F5, §7). A real broker; the proxy changes what it says of one partition."""

from __future__ import annotations

import re

import pytest

from smartconnect.jobs.obs_dump import redelivery
from smartconnect.jobs.obs_dump.runner import DumpRunner
from smartconnect.kafka.codes import KafkaCode
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import Story
from tests.integration.obs_dump.test_lost_uploads import lost, promised, removed_upload
from tests.support.dump_unit import caught_up, row_of
from tests.support.ids import RecordId
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy, KafkaRule
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

AT_ONCE_S = 20.0
"""Less than anybody waits for a leader who has nothing else to see to."""
NOBODY = (-1).to_bytes(4, "big", signed=True)


@pytest.fixture
async def story(kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Story:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    return Story(kafka, s3, bucket, names.topic("orders"))


def leaderless(proxy: KafkaProxy, topic: str, partition: int = 0) -> KafkaRule:
    """As brokers tell it of a partition all of whose replicas are away."""
    fine = re.compile(
        re.escape(topic.encode()) + rb".{16}\0.*?(\0\0" + re.escape(partition.to_bytes(4, "big")) + rb"\0\0\0\x01)", re.S
    )
    unled = KafkaCode.LEADER_NOT_AVAILABLE.to_bytes(2, "big") + partition.to_bytes(4, "big") + NOBODY

    def rewrite(request: Request, answer: bytes) -> bytes:
        found = fine.search(answer)
        return answer if found is None else answer[: found.start(1)] + unled + answer[found.end(1) :]

    return proxy.rewrite_answer(ApiKey.METADATA, rewrite, count=None)


def silent_of_ends(proxy: KafkaProxy, topic: str, code: KafkaCode = KafkaCode.NOT_LEADER_OR_FOLLOWER) -> KafkaRule:
    """Whoever asks where the log of partition 0 begins or ends is not told."""
    told, silent = (topic.encode() + b"\2" + bytes(4) + said.to_bytes(2, "big", signed=True) for said in (KafkaCode.NONE, code))
    return proxy.rewrite_answer(ApiKey.LIST_OFFSETS, lambda request, answer: answer.replace(told, silent), count=None)


async def goes_on(runner: DumpRunner, story: Story, position: int, partition: int = 1) -> None:
    """The other partition, at once."""

    def is_there() -> bool:
        rows = [row for row in runner.progress().partitions if row.partition == partition]
        return [row.position for row in rows] == [position]

    await eventually(is_there, AT_ONCE_S, what=f"partition {partition} of {story.topic} is at {position}")


async def test_a_new_partition_without_a_leader_is_begun_when_it_has_one(story: Story, proxied_kafka: KafkaProxy) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    unled = leaderless(proxied_kafka, story.topic)
    async with unit.running() as runner:
        await goes_on(runner, story, 100)
        assert [row.partition for row in runner.progress().partitions] == [1]
        unled.remove()
        await caught_up(runner, 200)
        await story.holds(story.writer.expected)
    assert unit.ledger.codes == []
    await story.is_tidy()


async def test_a_partition_that_lost_its_leader_while_the_dump_rested_goes_on_when_it_has_one(
    story: Story, proxied_kafka: KafkaProxy
) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.dumped(unit, 100)
    await story.writer.write(50)
    unled = leaderless(proxied_kafka, story.topic)
    async with unit.running() as runner:
        await goes_on(runner, story, 150)
        assert row_of(runner, story.topic).position == 100
        assert runner.progress().lag_records is None, "what is not known is never shown as nothing"
        unled.remove()
        await caught_up(runner, 300)
        await story.holds(story.writer.expected)
    assert unit.ledger.codes == []


async def test_a_topic_made_again_is_begun_at_its_earliest_record_when_that_is_known(
    story: Story, proxied_kafka: KafkaProxy
) -> None:
    """Not at 0: what is gone already when it is begun is no gap."""
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.dumped(unit, 100)
    old = await story.made_again(100)
    await story.delete_records(50)
    unled = leaderless(proxied_kafka, story.topic)
    async with unit.running() as runner:
        await goes_on(runner, story, 100)
        await eventually(lambda: unit.ledger.codes == ["topic_recreated"], AT_ONCE_S, what="the one that is led is told of")
        assert row_of(runner, story.topic).gaps == 0
        unled.remove()
        await story.holds(old, story.writer.expected, lost=[RecordId("new", 0, sequence) for sequence in range(50)])
        await caught_up(runner, 200)
        assert [row_of(runner, story.topic, number).gaps for number in (0, 1)] == [1, 1]
        assert row_of(runner, story.topic).start_offset == 50
    assert unit.ledger.codes == ["topic_recreated"] * 2
    async with unit.running() as runner:
        await story.writer.write(10)
        await caught_up(runner, 220)
    assert unit.ledger.codes == ["topic_recreated"] * 2


async def test_a_gap_is_not_told_before_the_leader_says_where_the_log_begins(story: Story, proxied_kafka: KafkaProxy) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.dumped(unit, 100)
    await story.writer.write(100)
    await story.delete_records(150)
    silent = silent_of_ends(proxied_kafka, story.topic)
    async with unit.running() as runner:
        await silent.hit(3)
        await story.writer.write(10, [1])
        await goes_on(runner, story, 210)
        await silent.hit(silent.hits + 3)
        assert unit.ledger.codes == [] and row_of(runner, story.topic).position == 100
        silent.remove()
        await story.holds(story.writer.expected, lost=[RecordId("old", 0, sequence) for sequence in range(100, 150)])
    assert unit.ledger.codes == ["gap"]


async def test_what_is_left_of_a_lost_upload_is_asked_for_until_the_leader_says_where_the_log_begins(
    story: Story, proxied_kafka: KafkaProxy, proxied_s3: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "_AGAIN_S", 0.2)
    unit = story.unit(reads=proxied_kafka.bootstrap_servers, writes=proxied_s3.endpoint)
    await promised(story, unit, proxied_s3)
    await removed_upload(story)
    await story.delete_records(40)
    silent = silent_of_ends(proxied_kafka, story.topic, KafkaCode.UNKNOWN_SERVER_ERROR)
    async with unit.running() as runner:
        await silent.hit(5)
        await goes_on(runner, story, 100)
        assert unit.ledger.codes == ["lost_upload"]
        silent.remove()
        await story.holds(story.writer.expected, lost=lost(40))
        await caught_up(runner, 200)
    assert unit.ledger.codes == ["lost_upload", "gap"]
    await story.is_tidy()
