"""Offsets of groups between two real clusters (kafka-replication.md §7, §15.11): exact, never against the group's will, no ping-pong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
from confluent_kafka import Consumer

from smartconnect.jobs.kafka_replication.group_sync import GroupSync, GroupSyncParts, Synced, SyncReport
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.other_direction import OtherDirection
from smartconnect.jobs.kafka_replication.position_codec import GroupMark, StoredPosition
from smartconnect.jobs.kafka_replication.position_store import PositionStore
from smartconnect.kafka.admin import delete_records
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import Committed, OffsetCommit, commit_offsets, delete_groups, fetch_offsets
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.records import RecordWriter
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually


@dataclass
class Side:
    """One cluster, with the topic of the test on it."""

    cluster: Cluster
    servers: str
    tp: TopicPartition

    async def commit(self, group: str, offset: int, metadata: str = "") -> None:
        await commit_offsets(self.cluster, group, {self.tp: OffsetCommit(offset, -1, metadata)})

    async def offset(self, group: str) -> int | None:
        found = (await self.committed(group)).get(self.tp)
        return None if found is None else found.offset

    async def committed(self, group: str) -> dict[TopicPartition, Committed]:
        return dict((await fetch_offsets(self.cluster, group, require_stable=False)).committed)


@pytest.fixture
async def sides(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> AsyncIterator[tuple[Side, Side]]:
    """The same topic on two clusters, 30 records in each."""
    topic = names.topic()
    made = []
    for server in (kafka, peer_kafka):
        await create_topic(server.bootstrap_servers, topic, partitions=2)
        await RecordWriter(server.bootstrap_servers, topic).write(30)
        cluster = Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests")
        made.append(Side(cluster, server.bootstrap_servers, TopicPartition(topic, 0)))
    yield made[0], made[1]
    for side in made:
        await side.cluster.close()
        await delete_topics(side.servers, [topic])


class Way:
    """One direction: what a unit holds of it, and a sync of its groups."""

    def __init__(self, source: Side, target: Side, names: Names, task: str, direction: str) -> None:
        self.source, self.target = source, target
        self.store = PositionStore(target.cluster, task, 1, direction)
        self.map = OffsetMap(0)
        self.mirrored = False
        self.other: OtherDirection | None = None
        self.selects: Callable[[str], bool] = lambda group: group.startswith(names.base)
        self.sync: GroupSync

    async def begin(self) -> None:
        """An incarnation begins: what it remembers is what is stored."""
        marks = (await self.store.read(lambda tp: True)).marks
        parts = GroupSyncParts(
            self.source.cluster,
            self.target.cluster,
            self.store,
            lambda: {self.source.tp: Synced(self.target.tp, self.map, self.mirrored)},
            lambda group: self.selects(group),
            lambda: 1_700_000_000_000,
            self.other,
        )
        self.sync = GroupSync(parts, marks)

    async def store_position(self) -> None:
        found = StoredPosition(1, None, self.map.next_source, -1, None, self.map.next_target, 0, self.map.newest())
        chunks = {self.source.tp: self.map.take_changes()}
        await produce_plain(self.target.cluster, self.store.tp, self.store.batch({self.source.tp: found}, 1, chunks))

    async def round(self) -> SyncReport:
        report = await self.sync.sync_once()
        assert report.troubles == {}
        return report


@pytest.fixture
async def way(sides: tuple[Side, Side], names: Names) -> Way:
    """Source offsets 0…9 lie at 5…14, 12…19 at 16…23."""
    way = Way(*sides, names, str(uuid4()), "push")
    await way.store.ensure_topic(None)
    way.map.add(0, 9, 5)
    way.map.add(12, 19, 16)
    await way.begin()
    return way


async def test_an_offset_arrives_exactly_with_its_metadata_and_follows(way: Way, names: Names) -> None:
    group = names.group()
    await way.source.commit(group, 7, "mine")
    report = await way.round()
    assert (report.groups, report.written) == (1, 1)
    assert await way.target.committed(group) == {way.target.tp: Committed(12, -1, "mine")}
    for source, target in ((9, 14), (10, 16), (12, 16), (15, 19), (20, 24)):
        await way.source.commit(group, source)
        await way.round()
        assert await way.target.offset(group) == target
    way.map.add(20, 24, 24)
    assert (await way.round()).written == 0
    assert [found.downstream for found in (await way.round()).checkpoints] == [24]


async def test_a_group_at_rest_costs_no_write(way: Way, names: Names) -> None:
    await way.source.commit(names.group(), 7)
    assert [(await way.round()).written for _ in range(3)] == [1, 0, 0]


async def test_a_group_that_the_target_forgot_is_written_again(way: Way, names: Names) -> None:
    await way.source.commit(names.group(), 7)
    await way.round()
    await delete_groups(way.target.cluster, [names.group()])
    assert (await way.round()).written == 1
    assert await way.target.offset(names.group()) == 12


async def test_a_target_group_that_is_further_stays_where_it_is(way: Way, names: Names) -> None:
    group = names.group()
    await way.source.commit(group, 7)
    await way.target.commit(group, 20)
    await way.round()
    await way.begin()
    await way.round()
    assert await way.target.offset(group) == 20


async def test_a_reset_backwards_is_followed_also_by_the_next_incarnation(way: Way, names: Names) -> None:
    group = names.group()
    await way.source.commit(group, 15)
    await way.round()
    await way.source.commit(group, 3)
    await way.round()
    assert await way.target.offset(group) == 8
    await way.source.commit(group, 1)
    await way.begin()
    await way.round()
    assert await way.target.offset(group) == 6
    assert (await way.store.read(lambda tp: True)).marks == {way.source.tp: {group: GroupMark(1, 6, False)}}


async def test_a_step_back_that_was_only_remembered_is_done_by_the_next_incarnation(way: Way, names: Names) -> None:
    group = names.group()
    await way.source.commit(group, 3)
    await way.target.commit(group, 19)
    marks = {(way.source.tp, group): GroupMark(3, 8, True)}
    await produce_plain(way.target.cluster, way.store.tp, way.store.marks_batch(marks, 1))
    await way.begin()
    assert (await way.round()).written == 1
    assert await way.target.offset(group) == 8
    assert (await way.store.read(lambda tp: True)).marks == {way.source.tp: {group: GroupMark(3, 8, False)}}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_group_with_consumers_on_the_target_is_left_alone(way: Way, names: Names, protocol: str) -> None:
    group = names.group()
    settings = {"session.timeout.ms": 6000} if protocol == "classic" else {"group.protocol": protocol}
    consumer = Consumer({"bootstrap.servers": way.target.servers, "group.id": group, "enable.auto.commit": False, **settings})
    consumer.subscribe([way.target.tp.topic])

    def joined() -> bool:
        consumer.poll(0.2)
        return bool(consumer.assignment())

    await eventually(lambda: asyncio.to_thread(joined), 60)
    await way.source.commit(group, 7)
    report = await way.round()
    assert (report.written, report.active) == (0, {group})
    assert await way.target.offset(group) is None
    await asyncio.to_thread(consumer.close)

    async def written() -> bool:
        return (await way.round()).written == 1

    await eventually(written)
    assert await way.target.offset(group) == 12


async def test_nothing_before_the_targets_beginning_is_written(way: Way, names: Names) -> None:
    await way.source.commit(names.group(), 2)
    await delete_records(way.target.cluster, {way.target.tp: 11})
    await way.round()
    assert await way.target.offset(names.group()) == 11


async def test_only_selected_groups_with_an_offset_on_our_partitions_are_looked_at(way: Way, names: Names) -> None:
    await way.source.commit(names.group("in"), 7)
    await way.source.commit(names.group("out"), 7)
    other = TopicPartition(way.source.tp.topic, 1)
    await commit_offsets(way.source.cluster, names.group("elsewhere"), {other: OffsetCommit(1)})
    way.selects = lambda group: group in (names.group("in"), names.group("elsewhere"))
    assert ((await way.round()).groups, await way.target.offset(names.group("out"))) == (1, None)


async def test_nothing_is_written_before_anything_was_copied(way: Way, names: Names) -> None:
    await way.source.commit(names.group(), 7)
    way.map = OffsetMap(0)
    report = await way.round()
    assert (report.written, report.checkpoints) == (0, [])


@pytest.fixture
async def two_ways(sides: tuple[Side, Side], names: Names) -> tuple[Way, Way]:
    """a and b hold records of their own and copies of each other's:

    a: own 0…9, copies of b's 0…4 at 10…14; b: own 0…4, copies of a's 0…9 at 5…14."""
    a, b = sides
    task = str(uuid4())
    there, back = Way(a, b, names, task, "push"), Way(b, a, names, task, "pull")
    for way, length, target in ((there, 10, 5), (back, 5, 10)):
        await way.store.ensure_topic(None)
        way.map.add(0, length - 1, target)
        way.map.skip_to(15)
        way.mirrored = True
        await way.store_position()
    there.other = OtherDirection(a.cluster, task, 1, "pull", lambda tp: True)
    back.other = OtherDirection(b.cluster, task, 1, "push", lambda tp: True)
    for way in (there, back):
        await way.begin()
    return there, back


async def test_two_ways_skip_no_record_of_the_other_side_and_do_not_play_ping_pong(two_ways: tuple[Way, Way], names: Names) -> None:
    there, back = two_ways
    a, b, group = there.source, there.target, names.group()
    await a.commit(group, 3)
    await there.round()
    assert await b.offset(group) == 0, "b's own records were not seen yet"
    await a.commit(group, 12)
    await there.round()
    assert await b.offset(group) == 2, "two of b's own were seen, and all of a's"
    assert [(await way.round()).written for way in (back, there, back, there)] == [0, 0, 0, 0]
    assert (await a.offset(group), await b.offset(group)) == (12, 2)


async def test_a_group_that_goes_on_over_there_comes_back_once(two_ways: tuple[Way, Way], names: Names) -> None:
    there, back = two_ways
    a, b, group = there.source, there.target, names.group()
    await a.commit(group, 12)
    await there.round()
    await b.commit(group, 8)
    assert (await back.round()).written == 0, "a is further already"
    await b.commit(group, 15)
    assert [(await way.round()).written for way in (back, there, back, there)] == [1, 0, 0, 0]
    assert (await a.offset(group), await b.offset(group)) == (15, 15)


async def test_the_next_incarnations_know_each_others_echo(two_ways: tuple[Way, Way], names: Names) -> None:
    there, back = two_ways
    group = names.group()
    await there.source.commit(group, 15)
    await there.round()
    assert await there.target.offset(group) == 15
    for way in (there, back):
        await way.begin()
    assert [(await way.round()).written for way in (back, there)] == [0, 0]
    await there.source.commit(group, 4)
    assert [(await way.round()).written for way in (back, there, back, there)] == [0, 1, 0, 0]
    assert (await there.source.offset(group), await there.target.offset(group)) == (4, 0)


async def test_what_the_other_way_copies_meanwhile_is_taken_up(two_ways: tuple[Way, Way], names: Names) -> None:
    there, back = two_ways
    group = names.group()
    await there.source.commit(group, 18)
    await there.round()
    assert await there.target.offset(group) == 15, "b's records from 15 on are not copied yet"
    for number in range(200):
        back.map.add(15 + 2 * number, 15 + 2 * number, 15 + number)
        if number % 9 == 0:
            await back.store_position()
    await back.store_position()
    there.map.skip_to(215)
    await there.round()
    assert await there.target.offset(group) == 15 + 2 * 3
