"""Gaps are never silent (kafka-replication.md §5): each row of the table, `on_gap` both ways, with its event, its counter and its mark."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.domain.progress import Level
from smartconnect.engine.unit import ReportedPosition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import CONTINUE, STOP, Pair, create_when_gone
from tests.integration.kafka_replication.stories import blocked, contents, delete_records, eventually_holds, row_of, supervised
from tests.support.mirror import Content, Side, eventually_mirrored
from tests.support.records import RecordWriter
from tests.support.replication_unit import caught_up
from tests.support.services import Names
from tests.support.topics import delete_topics
from tests.support.waiting import eventually


async def _made(side: Side) -> None:
    """Until the topic exists with both partitions."""
    admin = AdminClient({"bootstrap.servers": side.servers, "log_level": 0})

    def exists() -> bool:
        found = admin.list_topics(side.topic, timeout=30).topics[side.topic].partitions
        return len(found) == 2 and all(partition.leader >= 0 for partition in found.values())

    await eventually(lambda: asyncio.to_thread(exists), what=f"{side.topic} exists")


async def _grow(servers: str, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for future in admin.create_partitions([NewPartitions(topic, partitions)]).values():
        await asyncio.to_thread(future.result, 30)


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return await Pair.made(kafka, peer_kafka, names.topic("orders"))


async def test_a_retention_gap_is_told_and_copying_goes_on_at_the_log_start(pair: Pair) -> None:
    unit = pair.unit()
    await pair.copied(unit, 100)
    first = await contents(pair.target)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)
    async with unit.running() as runner:
        await caught_up(runner)
        await pair.writer.write(10)
        await eventually_holds(pair.target, [*first, *await contents(pair.source)])
        assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.WARNING, "gap")]
        assert f"{pair.topic}-0 [100, 150)" in unit.ledger.events[0][2]
        assert runner.progress().counters["gaps"] == 1
        assert [row_of(runner, pair.topic, number).gaps for number in (0, 1)] == [1, 0]
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)


async def test_a_retention_gap_stops_that_partition_where_it_shall_until_a_restart(pair: Pair) -> None:
    unit = pair.unit(STOP)
    await pair.copied(unit, 100)
    first = await contents(pair.target)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)
    for _ in range(2):
        async with unit.running() as runner:
            row = await blocked(runner, pair.topic, "gap")
            assert row.reason is not None and "[100, 150)" in row.reason.message and "restart" in row.reason.message
            await pair.writer.write(10, [1])
            await eventually_holds(pair.target, await contents(pair.source, 1), 1)
            assert runner.progress().counters["gaps"] == 1
            assert row_of(runner, pair.topic).gaps == 1
            assert await contents(pair.target) == first
    assert unit.ledger.codes == ["gap", "gap"]

    unit.run_number = 2
    async with unit.running() as runner:
        await caught_up(runner)
        await eventually_holds(pair.target, [*first, *await contents(pair.source)])
        assert row_of(runner, pair.topic).reason is None
        assert not runner.progress().counters.get("gaps")


@pytest.mark.parametrize("count", [30, 300], ids=["shorter", "longer"])
async def test_a_source_topic_made_again_while_the_unit_rests_is_copied_from_its_beginning(pair: Pair, count: int) -> None:
    unit = pair.unit()
    await pair.copied(unit, 100)
    first = [await contents(pair.target, number) for number in (0, 1)]
    await pair.made_again(count)
    async with unit.running() as runner:
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        assert runner.progress().counters["gaps"] == 2
        assert [row_of(runner, pair.topic, number).gaps for number in (0, 1)] == [1, 1]
    async with unit.running() as runner:
        await caught_up(runner)
        await pair.writer.write(10)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
    assert unit.ledger.codes == ["topic_recreated"] * 2


@pytest.mark.parametrize("count", [30, 300], ids=["shorter", "longer"])
async def test_a_source_topic_made_again_before_our_eyes_is_copied_from_its_beginning_once(pair: Pair, count: int) -> None:
    """The new topic is seen by its records before the next look at ids: they are not to be copied twice."""
    unit = pair.unit(replace(CONTINUE, refresh_interval_s=8))
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = [await contents(pair.target, number) for number in (0, 1)]
        await pair.made_again(count)
        await pair.writer.write(5)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        assert set(unit.ledger.codes) <= {"topic_deleted", "topic_recreated"}
        assert unit.ledger.codes.count("topic_recreated") == 2
        await pair.writer.write(10)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)


async def test_a_source_topic_that_was_deleted_is_told_and_its_copy_stays(pair: Pair) -> None:
    unit = pair.unit()
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = await contents(pair.target)
        await delete_topics(pair.source.servers, [pair.topic])
        await eventually(lambda: len(unit.ledger.codes) == 2, what="both partitions are told to be gone")
        assert unit.ledger.codes == ["topic_deleted"] * 2
        assert str(row_of(runner, pair.topic).state) == "unassigned"
    assert await contents(pair.target) == first


async def test_a_source_topic_made_again_stops_its_partitions_where_it_shall(pair: Pair) -> None:
    unit = pair.unit(STOP)
    await pair.copied(unit, 100)
    first = await contents(pair.target)
    await pair.made_again(30)
    async with unit.running() as runner:
        for number in (0, 1):
            row = await blocked(runner, pair.topic, "gap", number)
            assert row.reason is not None and "made again on the source" in row.reason.message
        for partitions in (3, 4):
            await _grow(pair.source.servers, pair.topic, partitions)
            await eventually(lambda: len(runner.progress().partitions) == partitions, what="another look")  # noqa: B023
        assert runner.progress().counters["gaps"] == 2
        assert [row_of(runner, pair.topic, number).gaps for number in (0, 1)] == [1, 1]
    assert unit.ledger.codes == ["gap"] * 2
    assert await contents(pair.target) == first


@pytest.mark.parametrize("again", ["by somebody", "by us"])
async def test_a_target_topic_made_again_goes_on_at_the_position(pair: Pair, again: str) -> None:
    unit = pair.unit()
    await pair.copied(unit, 100)
    await delete_topics(pair.target.servers, [pair.topic])
    if again == "by somebody":
        await create_when_gone(pair.target.servers, pair.topic)
    await pair.writer.write(50)
    async with unit.running() as runner:
        for number in (0, 1):
            later = (await contents(pair.source, number))[100:]
            await _made(pair.target)
            await eventually_holds(pair.target, later, number)
        assert unit.ledger.codes == ["target_recreated"] * 2
        assert runner.progress().counters["gaps"] == 2
    async with unit.running() as runner:
        await caught_up(runner)
        await pair.writer.write(10)
        for number in (0, 1):
            await eventually_holds(pair.target, (await contents(pair.source, number))[100:], number)
    assert unit.ledger.codes == ["target_recreated"] * 2


async def test_a_target_topic_that_vanishes_before_our_eyes_is_made_again_and_nothing_comes_twice(pair: Pair) -> None:
    """Records flow all the while: what went into the old topic is gone with it, the new one holds a whole end of the source."""
    unit = pair.unit()
    await pair.writer.write(100)
    async with supervised(unit):
        await eventually_mirrored(pair.source, pair.target)
        writing = asyncio.create_task(_write_slowly(pair.writer, 30))
        await delete_topics(pair.target.servers, [pair.topic])
        await _made(pair.target)
        await eventually(lambda: unit.ledger.codes.count("target_recreated") >= 2, what="the gap is told")
        await writing
        await pair.writer.write(10)
        for number in (0, 1):
            whole = await contents(pair.source, number)
            await _ends_with(pair.target, whole[-1], number)
            copied = await contents(pair.target, number)
            assert 10 <= len(copied) <= len(whole) - 100
            assert copied == whole[-len(copied) :]
        assert set(unit.ledger.codes) <= {"target_recreated", "target_missing"}


async def _write_slowly(writer: RecordWriter, times: int) -> None:
    for _ in range(times):
        await writer.write(20)
        await asyncio.sleep(0.02)  # records that come one after the other, not in one batch


async def _ends_with(side: Side, last: Content, partition: int) -> None:
    async def ends() -> bool:
        found = await contents(side, partition)
        return bool(found) and found[-1] == last

    await eventually(ends, 60, what=f"{side.topic}-{partition} has the last record", poll_s=0.2)


async def test_a_target_topic_made_again_stops_its_partitions_where_it_shall(pair: Pair) -> None:
    unit = pair.unit(STOP)
    await pair.copied(unit, 100)
    await delete_topics(pair.target.servers, [pair.topic])
    await create_when_gone(pair.target.servers, pair.topic)
    await pair.writer.write(50)
    async with unit.running() as runner:
        for number in (0, 1):
            row = await blocked(runner, pair.topic, "gap", number)
            assert row.reason is not None and "made again on the target" in row.reason.message
        assert runner.progress().counters["gaps"] == 2
    for number in (0, 1):
        assert await contents(pair.target, number) == []


@pytest.mark.parametrize("on_gap", [CONTINUE, STOP], ids=["continue", "stop"])
async def test_a_position_that_is_gone_always_stops_its_partition(pair: Pair, on_gap: ReplicationOptions) -> None:
    unit = pair.unit(on_gap)
    await pair.copied(unit, 100)
    unit.ledger.reported = {(pair.topic, 0): ReportedPosition(120), (pair.topic, 1): ReportedPosition(100)}
    await pair.writer.write(10)
    async with unit.running() as runner:
        row = await blocked(runner, pair.topic, "position_gone")
        assert row.reason is not None and "100, last known 120" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert len(await contents(pair.target)) == 100
    assert [(level, code) for level, code, _ in unit.ledger.events] == [(Level.ERROR, "position_gone")]


async def test_no_position_where_one_was_reported_stops_its_partition(pair: Pair) -> None:
    unit = pair.unit()
    unit.ledger.reported = {(pair.topic, 0): ReportedPosition(120)}
    await pair.writer.write(10)
    async with unit.running() as runner:
        row = await blocked(runner, pair.topic, "position_gone")
        assert row.reason is not None and "is none, last known 120" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert await contents(pair.target) == []


async def test_what_was_reported_of_another_topic_of_that_name_is_no_gap(pair: Pair) -> None:
    unit = pair.unit()
    unit.ledger.reported = {(pair.topic, 0): ReportedPosition(120, topic_id="00000000-0000-0000-0000-000000000007")}
    await pair.writer.write(10)
    async with unit.running():
        await eventually_mirrored(pair.source, pair.target)
    assert unit.ledger.codes == []
