"""A topic that is deleted and made again is dumped from its beginning, however many records it has by then and whoever notices it; under
`on_gap = "stop"` it blocks (obs-dump.md §4 F5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump.runner import DumpRunner
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, NO_LOOK_S, STOP, Story
from tests.support.dump_unit import DumpUnit, blocked, caught_up, row_of
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import S3Proxy
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

LENGTHS = pytest.mark.parametrize("count", [30, 300], ids=["shorter", "longer"])


@pytest.fixture
async def story(kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Story:
    await create_topic(kafka.bootstrap_servers, names.topic("orders"), partitions=2)
    return Story(kafka, s3, bucket, names.topic("orders"))


async def all_blocked(runner: DumpRunner, story: Story) -> None:
    for number in (0, 1):
        message = await blocked(runner, story.topic, "gap", number)
        assert "was deleted and made again" in message and "restart" in message
        assert row_of(runner, story.topic, number).gaps == 1


async def made_again_unseen(story: Story, proxy: KafkaProxy, count: int, partitions: int = 2) -> dict[tuple[str, int], int]:
    """The unit hears that its topic is gone, and asks where it is now; when it is answered there is another one."""
    before = story.writer.expected
    questions = proxy.hold_request(ApiKey.METADATA, count=None)
    await delete_topics(story.servers, [story.topic])
    await questions.reached()
    await story.create_when_gone(partitions)
    await story.write_new(count, partitions)
    questions.release()
    return before


@LENGTHS
@pytest.mark.parametrize("kept", [False, True], ids=["without position", "with the old position"])
async def test_made_again_while_the_dump_rests(story: Story, kept: bool, count: int) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    old = await story.made_again(count)
    await eventually(lambda: _none_committed(story, unit), what="the broker forgets the positions with the topic")
    if kept:
        await story.commit(unit, 100)
    async with unit.running() as runner:
        await story.holds(old, story.writer.expected)
        await caught_up(runner, 2 * count)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        assert runner.progress().counters["gaps"] == 2
        assert [row_of(runner, story.topic, number).gaps for number in (0, 1)] == [1, 1]
        await eventually(lambda: runner.progress().phase == "dumping", what="nothing is left of the initial copy")
    async with unit.running() as runner:
        await story.writer.write(10)
        await story.holds(old, story.writer.expected)
    assert unit.ledger.codes == ["topic_recreated"] * 2
    await story.is_tidy()


@LENGTHS
@pytest.mark.parametrize("kept", [False, True], ids=["without position", "with the old position"])
async def test_made_again_while_the_dump_rests_and_stops(story: Story, kept: bool, count: int) -> None:
    unit = story.unit(STOP)
    await story.dumped(unit, 100)
    old = await story.made_again(count)
    await eventually(lambda: _none_committed(story, unit), what="the broker forgets the positions with the topic")
    if kept:
        await story.commit(unit, 100)
    for _ in range(2):
        async with unit.running() as runner:
            await all_blocked(runner, story)
            await story.holds(old)
    assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.ERROR, "gap")] * 4
    unit.run_number, unit.ledger.reported = 2, {}
    async with unit.running():
        await story.holds(old, story.writer.expected)
    await story.is_tidy()


@LENGTHS
async def test_made_again_before_the_eyes_of_the_dump(story: Story, count: int) -> None:
    unit = story.unit()
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        old = await story.made_again(count)
        await story.holds(old, story.writer.expected)
        await story.writer.write(10)
        await story.holds(old, story.writer.expected)
        await caught_up(runner, 2 * (count + 10))
        assert set(unit.ledger.codes) <= {"topic_deleted", "topic_recreated"}
        assert unit.ledger.codes.count("topic_recreated") == 2
        assert runner.progress().counters["gaps"] == len(unit.ledger.codes)
    await story.is_tidy()


@LENGTHS
async def test_made_again_before_the_eyes_of_the_dump_and_stops(story: Story, count: int) -> None:
    unit = story.unit(STOP)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        old = await story.made_again(count)
        for number in (0, 1):
            assert "was deleted and made again" in await blocked(runner, story.topic, "gap", number)
    async with unit.running() as runner:
        await all_blocked(runner, story)
        await story.holds(old)
    await story.is_tidy()


@LENGTHS
async def test_made_again_between_two_looks_and_grown(story: Story, proxied_kafka: KafkaProxy, count: int) -> None:
    """The first partition that notices it looks for all, also for the one that is new."""
    unit = story.unit(replace(CONTINUE, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        old = await made_again_unseen(story, proxied_kafka, count, partitions=3)
        await story.holds(old, story.writer.expected)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        await caught_up(runner, 3 * count)
    await story.is_tidy()


async def test_made_again_between_two_looks_and_stops(story: Story, proxied_kafka: KafkaProxy) -> None:
    unit = story.unit(replace(STOP, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        old = await made_again_unseen(story, proxied_kafka, 300)
        await all_blocked(runner, story)
        await story.holds(old)
    await story.is_tidy()


async def test_made_again_between_two_fetches(story: Story, proxied_kafka: KafkaProxy) -> None:
    """Nobody hears that it was gone: the same connection asks for the next records, and there are some at that offset."""
    unit = story.unit(replace(CONTINUE, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        fetches = proxied_kafka.hold_request(ApiKey.FETCH, count=None)
        await fetches.reached()
        old = await story.made_again(300)
        fetches.release()
        await story.holds(old, story.writer.expected)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        await caught_up(runner, 600)
    await story.is_tidy()


async def test_who_dies_before_the_registry_knows_of_the_new_topic_has_dumped_nothing_of_it(story: Story) -> None:
    unit = story.unit()
    await story.dumped(unit, 100)
    old = await story.made_again(300)
    unit.ledger.answers.clear()
    async with unit.killed():
        await eventually(lambda: _starts_committed(story, unit), 60, what="the new start is committed")
        await eventually(lambda: unit.ledger.asked > 2, what="both partitions wait for the registry")
        await story.holds(old)
    unit.ledger.answers.set()
    async with unit.killed():
        await story.holds(old, story.writer.expected)
    unit.ledger.events.clear()
    async with unit.running():
        await story.writer.write(10)
        await story.holds(old, story.writer.expected)
    assert unit.ledger.codes == []
    await story.is_tidy()


async def test_made_again_while_a_transaction_names_its_objects(story: Story, proxied_kafka: KafkaProxy) -> None:
    unit = story.unit(reads=proxied_kafka.bootstrap_servers)
    await story.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner, 200)
        await story.keeps_its_promises(unit)
        ends = proxied_kafka.hold_request(ApiKey.END_TXN)
        await story.writer.write(100, partitions=[0])
        await ends.reached()
        seen = len(unit.ledger.codes)
        old = await story.made_again(300)
        looks = proxied_kafka.requests[ApiKey.METADATA]
        await eventually(lambda: proxied_kafka.requests[ApiKey.METADATA] > looks + 3, what="the dump has looked again")
        assert len(unit.ledger.codes) == seen, "nothing is decided while the transaction is open"
        ends.release()
        await story.holds(old, story.writer.expected)
        assert unit.ledger.codes.count("topic_recreated") == 2
    await story.is_tidy()


async def test_an_object_that_appears_late_does_not_wake_a_partition_that_was_stopped(story: Story, proxied_s3: S3Proxy) -> None:
    unit = story.unit(STOP, writes=proxied_s3.endpoint)
    await story.writer.write(100)
    completes = proxied_s3.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=2)
    async with unit.running() as runner:
        await completes.reached(2)
        old = await story.made_again(300)
        for number in (0, 1):
            await blocked(runner, story.topic, "gap", number)
        completes.release()
        await story.holds(old)
        for number in (0, 1):
            await blocked(runner, story.topic, "gap", number)
    await story.holds(old)
    await story.is_tidy()


async def _none_committed(story: Story, unit: DumpUnit) -> bool:
    return not await story.committed(unit)


async def _starts_committed(story: Story, unit: DumpUnit) -> bool:
    return await story.committed(unit) == {0: 0, 1: 0}
