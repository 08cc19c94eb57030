"""Records that are gone before they were dumped, and positions that are: told, counted, and never read over in silence (obs-dump.md §4 F3,
F4, F5)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump import keeping
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, STOP, Story
from tests.support.bucket import read_objects
from tests.support.dump_unit import blocked, caught_up, row_of
from tests.support.ids import RecordId, decode_id
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import RecordWriter, WriterOptions
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

REMOVED = [RecordId("old", 0, sequence) for sequence in range(100, 150)]


@pytest.fixture
async def story(kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Story:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    return Story(kafka, s3, bucket, names.topic("orders"))


async def test_what_retention_removed_while_the_dump_rested_is_told_and_it_goes_on_at_the_log_start(story: Story) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    await story.writer.write(100)
    await story.delete_records(150)
    async with unit.running() as runner:
        await story.holds(story.writer.expected, lost=REMOVED)
        await story.writer.write(10)
        await story.holds(story.writer.expected, lost=REMOVED)
        assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.WARNING, "gap")]
        assert f"{story.topic}-0 [100, 150)" in unit.ledger.events[0][2]
        assert runner.progress().counters["gaps"] == 1
        assert [row_of(runner, story.topic, number).gaps for number in (0, 1)] == [1, 0]
    await story.is_tidy()


async def test_what_retention_removed_stops_that_partition_until_a_restart(story: Story) -> None:
    unit = story.unit(STOP)
    await story.dumped(unit, 100)
    await story.writer.write(100)
    await story.delete_records(150)
    untouched = [RecordId("old", 0, sequence) for sequence in range(100, 200)]
    for _ in range(2):
        async with unit.running() as runner:
            message = await blocked(runner, story.topic, "gap")
            assert "[100, 150)" in message and "restart" in message
            assert row_of(runner, story.topic).gaps == 1
            await story.writer.write(10, [1])
            await story.holds(story.writer.expected, lost=untouched)
    assert unit.ledger.codes == ["gap", "gap"]
    assert await story.committed(unit) == {0: 100, 1: 220}
    await story.is_tidy()

    unit.run_number, unit.ledger.reported = 2, {}
    unit.spec = replace(unit.spec, path="again")
    async with unit.running() as runner:
        await caught_up(runner, 200 + 220)
        assert row_of(runner, story.topic).reason is None
    again = [decode_id(value) for each in await read_objects(story.s3, story.bucket, "again/") for value in each.values()]
    assert Counter(record[1] for record in again if record is not None) == {0: 50, 1: 220}
    await story.is_tidy()


@pytest.mark.parametrize("options", [CONTINUE, STOP], ids=["continue", "stop"])
async def test_what_retention_removed_before_the_eyes_of_the_dump(
    options: ObsDumpOptions, story: Story, proxied_kafka: KafkaProxy
) -> None:
    unit = story.unit(options, reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        fetches = proxied_kafka.hold_request(ApiKey.FETCH, count=None)
        await fetches.reached()
        await story.writer.write(100, [0])
        await story.delete_records(150)
        fetches.release()
        if options is STOP:
            assert "[100, 150)" in await blocked(runner, story.topic, "gap")
            lost = [RecordId("old", 0, sequence) for sequence in range(100, 200)]
        else:
            lost = REMOVED
        await story.writer.write(10, [1])
        await story.holds(story.writer.expected, lost=lost)
        assert unit.ledger.codes == ["gap"]
        assert row_of(runner, story.topic).gaps == 1
    await story.is_tidy()


@pytest.mark.parametrize("options", [CONTINUE, STOP], ids=["continue", "stop"])
async def test_a_log_that_was_cut_by_an_unclean_election(options: ObsDumpOptions, story: Story, proxied_kafka: KafkaProxy) -> None:
    """As Kafka tells it: the position's epoch ends below the position. What was dumped stays."""
    unit = story.unit(options, reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(20, [1])
    await story.dumped(unit, 100)
    cut = proxied_kafka.rewrite_answer(ApiKey.OFFSET_FOR_LEADER_EPOCH, _ends_at_80)
    async with unit.running() as runner:
        if options is STOP:
            message = await blocked(runner, story.topic, "gap")
        else:
            await eventually(lambda: unit.ledger.events, 60, what="the gap is told")
            message = unit.ledger.events[0][2]
        assert "unclean election" in message and "at 80" in message
        await story.writer.write(10)
        expected = {0: 130, 1: 130} if options is CONTINUE else {0: 100, 1: 130}

        async def are_there() -> bool:
            return await _records(story) == expected

        await eventually(are_there, 60, what="what comes behind the cut is dumped, if it shall")
        assert cut.hits == 1
        assert unit.ledger.codes == ["gap"]
        assert [row_of(runner, story.topic, number).gaps for number in (0, 1)] == [1, 0]
    assert await story.committed(unit) == {0: 110 if options is CONTINUE else 100, 1: 130}
    await story.is_tidy()


async def test_a_deleted_topic_is_told_and_what_was_dumped_stays_while_another_goes_on(story: Story, names: Names) -> None:
    unit = story.unit()
    other = names.topic("payments")
    await create_topic(story.servers, other)
    unit.spec = replace(unit.spec, topics=(story.topic, other))
    others = RecordWriter(story.servers, other, 1, WriterOptions(tag="other"))
    await story.writer.write(100)
    await others.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 300)
        await delete_topics(story.servers, [story.topic])
        await eventually(lambda: len(unit.ledger.codes) == 2, 60, what="both partitions are told")
        await others.write(50)
        await story.holds(story.writer.expected, others.expected)
        assert unit.ledger.codes == ["topic_deleted"] * 2
        assert runner.progress().counters["gaps"] == 2
        assert [row_of(runner, story.topic, number).state for number in (0, 1)] == ["unassigned"] * 2
    await story.is_tidy()


async def test_a_topic_that_a_coordinator_does_not_know_for_a_moment_is_not_dumped_again(
    story: Story, proxied_kafka: KafkaProxy
) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        await story.keeps_its_promises(unit)
        refused = proxied_kafka.rewrite_answer(
            ApiKey.TXN_OFFSET_COMMIT, lambda _, answer: _with_error(answer, story.topic.encode(), 3)
        )
        await story.writer.write(50)
        await refused.hit()
        await story.holds(story.writer.expected)
        await caught_up(runner, 300)
    assert set(unit.ledger.codes) <= {"topic_deleted"}  # not told where the next look is quicker than the news
    await story.holds(story.writer.expected)
    async with unit.running():  # whose janitor finds the upload that was not committed
        await eventually(lambda: _is_swept(story), what="no upload is left")


async def test_positions_that_are_gone_block_until_a_restart(story: Story) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    for future in story.admin.delete_consumer_groups([unit.group]).values():
        await asyncio.to_thread(future.result, 30)
    for _ in range(2):
        async with unit.running() as runner:
            for number in (0, 1):
                message = await blocked(runner, story.topic, "position_gone", number)
                assert "last known 100" in message and "restart" in message
    await story.holds(story.writer.expected)
    unit.run_number, unit.ledger.reported = 2, {}
    unit.spec = replace(unit.spec, path="again")
    async with unit.running() as runner:
        await caught_up(runner, 200)
    assert await _records(story) == {0: 200, 1: 200}
    await story.is_tidy()


async def test_a_position_that_a_tool_sets_forward_blocks_unless_the_dump_was_paused(story: Story) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    await story.writer.write(100)
    await story.commit(unit, 150, [0])
    for _ in range(2):
        async with unit.running() as runner:
            message = await blocked(runner, story.topic, "foreign_position")
            assert "set forward to 150, from 100 or more" in message and "restart" in message
            await story.holds(story.writer.expected, lost=[RecordId("old", 0, sequence) for sequence in range(100, 200)])

    unit.ledger.reported = {tp: replace(last, before_pause=True) for tp, last in unit.ledger.reported.items()}
    for _ in range(2):
        async with unit.running() as runner:
            await story.holds(story.writer.expected, lost=REMOVED)
            await caught_up(runner, 400)
            assert row_of(runner, story.topic).reason is None
    await story.is_tidy()


async def test_positions_of_a_version_that_left_no_mark_are_ours(story: Story) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    await story.writer.write(100)
    unit.ledger.reported = {tp: replace(last, marked=False) for tp, last in unit.ledger.reported.items()}
    await story.commit(unit, 150)  # committed behind its last report
    lost = [RecordId("old", number, sequence) for number in (0, 1) for sequence in range(100, 150)]
    async with unit.running() as runner:
        await caught_up(runner, 400)
    async with unit.running():
        await story.holds(story.writer.expected, lost=lost)
    assert unit.ledger.codes == []


async def test_a_position_written_by_somebody_else_is_never_kept_alive_as_if_it_were_ours(
    story: Story, proxied_kafka: KafkaProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.dumped(unit, 100)
    await story.commit(unit, 40, [0], metadata="a tool")
    monkeypatch.setattr(keeping, "LONGEST_S", 1.0)
    async with unit.running() as runner:
        await blocked(runner, story.topic, "foreign_position")
        commits = proxied_kafka.requests[ApiKey.TXN_OFFSET_COMMIT]
        await eventually(
            lambda: proxied_kafka.requests[ApiKey.TXN_OFFSET_COMMIT] >= commits + 3, 60, what="the other partition is kept alive"
        )
    async with unit.running() as runner:
        await blocked(runner, story.topic, "foreign_position")
    assert await story.committed(unit) == {0: 40, 1: 100}
    await story.holds(story.writer.expected)


async def _is_swept(story: Story) -> bool:
    await story.is_tidy()
    return True


def _ends_at_80(_: Request, answer: bytes) -> bytes:
    """The end of the first partition's epoch, 80 instead of 100; the other partition ends at 120."""
    return answer.replace((100).to_bytes(8, "big"), (80).to_bytes(8, "big"))


def _with_error(answer: bytes, topic: bytes, code: int) -> bytes:
    """An answer to TxnOffsetCommit v3 with this error for every partition of the topic."""
    changed = bytearray(answer)
    at = answer.index(topic) + len(topic)
    for number in range(answer[at] - 1):
        errors_at = at + 1 + number * 7 + 4
        changed[errors_at : errors_at + 2] = code.to_bytes(2, "big")
    return bytes(changed)


async def _records(story: Story) -> dict[int, int]:
    """How many records of each partition are in the bucket, counted as often as they are there."""
    found = [decode_id(value) for each in await read_objects(story.s3, story.bucket) for value in each.values()]
    return dict(Counter(record.partition for record in found if record is not None))
