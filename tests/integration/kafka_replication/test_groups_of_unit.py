"""Units that carry group offsets beside their data: every offset of a real log leads to the same record, and two ways between the same
topics come to rest (kafka-replication.md §15.3, §15.7, §15.11)."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from contextlib import AsyncExitStack
from dataclasses import replace

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationOptions, ReplicationSpec
from smartconnect.engine.unit import StopSignal
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint, Heartbeat, OffsetSync
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.position_store import Positions, PositionStore
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import OffsetCommit, commit_offsets, fetch_offsets
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.ids import count_ids
from tests.support.mirror import Content, Side, content
from tests.support.records import Outcome, Record, RecordWriter, WriterOptions, read_topic
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

QUICK = ReplicationOptions(refresh_interval_s=0.5, group_sync_interval_s=0.3, commit_min_ms=5, commit_interval_ms=20)


async def write_like_life(writer: RecordWriter) -> None:
    """Plain records, committed and aborted transactions: markers and holes all over."""
    for number in range(3):
        await writer.write(7 + number)
        await writer.write_transaction(3)
        await writer.write_transaction(4, Outcome.ABORT)


def first_at(records: list[Record], offset: int) -> Content | None:
    """The first record that a reader sees from an offset on."""
    at = bisect_left([record.offset for record in records], offset)
    return content(records[at]) if at < len(records) else None


async def stored(servers: str, unit: UnitUnderTest) -> Positions:
    async with Cluster(servers, KafkaSecurity(), client_id="tests") as cluster:
        return await PositionStore(cluster, unit.task_id, 1, unit.direction).read(lambda tp: True)


async def test_every_offset_of_the_source_leads_to_the_same_record_on_the_target(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    """Over kills: what is stored is always exact."""
    topic, servers = names.topic(), peer_kafka.bootstrap_servers
    await create_topic(servers, topic)
    writer = RecordWriter(servers, topic, 1, WriterOptions(value_size=50))
    unit = UnitUnderTest(kafka.bootstrap_servers, replace(spec_of(servers, [topic], QUICK), sync_offsets=True))
    for _ in range(3):
        life = asyncio.create_task(unit.runner().run(StopSignal()))
        await write_like_life(writer)
        await unit.kill(life)
    async with unit.running() as runner:
        await caught_up(runner)
    source, target = (await read_topic(servers, topic))[0], (await read_topic(kafka.bootstrap_servers, topic))[0]
    tp = TopicPartition(topic, 0)
    found = await stored(kafka.bootstrap_servers, unit)
    offset_map = OffsetMap.stored(found[tp], found.chunks.get(tp, ()))
    assert len(found[tp].runs) > 3
    for offset in range(source[-1].offset + 3):
        translated = offset_map.translate(offset)
        assert translated is not None
        assert first_at(target, translated) == first_at(source, offset), f"source offset {offset}, target offset {translated}"


async def test_groups_find_their_next_record_on_the_target(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    topic, servers = names.topic(), peer_kafka.bootstrap_servers
    await create_topic(servers, topic)
    writer = RecordWriter(servers, topic)
    options = replace(QUICK, groups_include=f"{names.base}.*")
    unit = UnitUnderTest(kafka.bootstrap_servers, replace(spec_of(servers, [topic], options), sync_offsets=True))
    tp = TopicPartition(topic, 0)
    async with (
        Cluster(servers, KafkaSecurity(), client_id="tests") as there,
        Cluster(kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as here,
    ):

        async def offset_of(group: str) -> int | None:
            committed = (await fetch_offsets(here, group, require_stable=False)).committed.get(tp)
            return None if committed is None else committed.offset

        async with unit.running() as runner:
            await write_like_life(writer)
            await caught_up(runner)
            source, target = (await read_topic(servers, topic))[0], (await read_topic(kafka.bootstrap_servers, topic))[0]
            groups = {names.group(str(number)): (source[-1].offset + 2) * number // 7 for number in range(8)}
            for group, offset in groups.items():
                await commit_offsets(there, group, {tp: OffsetCommit(offset, -1, "m")})

            async def carried() -> bool:
                return None not in [await offset_of(group) for group in groups]

            await eventually(carried)
            for group, offset in groups.items():
                translated = await offset_of(group)
                assert translated is not None and first_at(target, translated) == first_at(source, offset)
            assert runner.progress().counters["group_offsets_written"] == 8
            assert unit.ledger.codes == []


def both_ways(unit: UnitUnderTest, **changes: object) -> ReplicationSpec:
    return replace(unit.spec, directions=(Direction.PULL, Direction.PUSH), sync_offsets=True, **changes)  # type: ignore[arg-type]


async def write_on_both(here: str, there: str, topic: str, tag: str) -> dict[str, RecordWriter]:
    """Records of each side's own, told apart by their tags."""
    writers = {}
    for side, servers in (("here", here), ("there", there)):
        writers[side] = RecordWriter(servers, topic, 1, WriterOptions(tag=f"{side}-{tag}"))
        await write_like_life(writers[side])
    return writers


async def at_rest(runners: list[ReplicationRunner], here: Side, there: Side, writers: dict[str, RecordWriter]) -> None:
    """Both sides hold every record once, and nothing is left to be looked at."""

    async def both_have_all() -> bool:
        for side in (here, there):
            values = [[record.value or b"" for record in records] for records in (await side.read()).values()]
            expected = {key: count for writer in writers.values() for key, count in writer.expected.items()}
            count_ids(values, expected).assert_exactly_once()
        return True

    await eventually(both_have_all, 60)
    for runner in runners:
        await caught_up(runner)
    assert await both_have_all(), "nothing came round again"


async def test_two_crossed_one_way_tasks_come_to_rest(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    """Same names on both sides, two tasks that know nothing of each other: only producer ids tell what came from where."""
    topic, here, there = names.topic(), kafka.bootstrap_servers, peer_kafka.bootstrap_servers
    for servers in (here, there):
        await create_topic(servers, topic)
    writers = await write_on_both(here, there, topic, "a")
    pull = UnitUnderTest(here, spec_of(there, [topic], QUICK))
    push = UnitUnderTest(here, replace(spec_of(there, [topic], QUICK), directions=(Direction.PUSH,)), Direction.PUSH)
    async with AsyncExitStack() as running:
        runners = [await running.enter_async_context(unit.running()) for unit in (pull, push)]
        await at_rest(runners, Side(here, topic), Side(there, topic), writers)
        for writer in writers.values():
            await write_like_life(writer)
        await at_rest(runners, Side(here, topic), Side(there, topic), writers)
        for runner, side in zip(runners, ("there", "here"), strict=True):
            assert runner.progress().counters["records_out"] == sum(writers[side].expected.values())


async def test_a_group_changes_sides_and_loses_no_record(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    """Two ways over one topic: what a group has read there it need not read here, and what it has not it finds."""
    topic, here, there = names.topic(), kafka.bootstrap_servers, peer_kafka.bootstrap_servers
    for servers in (here, there):
        await create_topic(servers, topic)
    options = replace(QUICK, groups_include=f"{names.base}.*")
    pull = UnitUnderTest(here, spec_of(there, [topic], options))
    pull.spec = both_ways(pull, provenance_header=True)
    push = UnitUnderTest(here, pull.spec, Direction.PUSH, task_id=pull.task_id)
    tp, group = TopicPartition(topic, 0), names.group()
    async with AsyncExitStack() as running:
        runners = [await running.enter_async_context(unit.running()) for unit in (pull, push)]
        writers = await write_on_both(here, there, topic, "b")
        await at_rest(runners, Side(here, topic), Side(there, topic), writers)
        seen_there, seen_here = (await read_topic(there, topic))[0], (await read_topic(here, topic))[0]
        stops_at = seen_there[len(seen_there) // 2].offset
        clusters = [
            await running.enter_async_context(Cluster(servers, KafkaSecurity(), client_id="tests")) for servers in (there, here)
        ]
        await commit_offsets(clusters[0], group, {tp: OffsetCommit(stops_at)})

        async def carried() -> int | None:
            committed = (await fetch_offsets(clusters[1], group, require_stable=False)).committed.get(tp)
            return None if committed is None else committed.offset

        await eventually(carried)
        goes_on_at = await carried()
        assert goes_on_at is not None
        read_before = {record.value for record in seen_there if record.offset < stops_at}
        read_after = {record.value for record in seen_here if record.offset >= goes_on_at}
        assert read_before | read_after == {record.value for record in seen_here}


async def test_mirrormakers_topics_appear_where_they_are_wanted(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, here, there = names.topic(), kafka.bootstrap_servers, peer_kafka.bootstrap_servers
    alias = names.base[-18:].strip("-")
    await create_topic(there, topic)
    options = replace(QUICK, mm2_topics=True, heartbeats=True, groups_include=f"{names.base}.*")
    spec = replace(spec_of(there, [topic], options), rename=True, sync_offsets=True, peer_alias=alias)
    unit = UnitUnderTest(here, spec)
    async with Cluster(there, KafkaSecurity(), client_id="tests") as source, unit.running() as runner:
        await RecordWriter(there, topic).write(10)
        await caught_up(runner)
        await commit_offsets(source, names.group(), {TopicPartition(topic, 0): OffsetCommit(7)})

        async def first(name: str) -> Record | None:
            records = (await read_topic(here, name)).get(0)
            return records[0] if records else None

        checkpoint = await eventually(lambda: first(f"{alias}.checkpoints.internal"))
        sync = await eventually(lambda: first(f"mm2-offset-syncs.{alias}.internal"))
        beat = await eventually(lambda: first(f"{alias}.heartbeats"))
    expected = Checkpoint(names.group(), TopicPartition(f"{alias}.{topic}", 0), 7, 7, "")
    assert (checkpoint.key, checkpoint.value) == (expected.key(), expected.value())
    assert sync.key == OffsetSync(TopicPartition(topic, 0), 10, 10).key()
    assert beat.key == Heartbeat(alias, "here", 0).key()
    assert unit.ledger.codes == []
