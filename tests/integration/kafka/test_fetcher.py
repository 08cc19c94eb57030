"""Fetching raw batches from a real broker: order, positions, errors handed over, memory, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from smartconnect.kafka.admin import NewTopic, create_topics, delete_records, delete_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions
from smartconnect.kafka.types import TopicPartition
from tests.conftest import MakeTopic
from tests.integration.kafka.conftest import CountingAdmission, Produce, collect, offsets_of, reached
from tests.support.services import Names
from tests.support.waiting import eventually

QUICK = FetchOptions(max_wait_ms=100, idle_wait_ms=100)


async def test_all_records_of_many_partitions_arrive_in_order(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(partitions=6)
    parts = [TopicPartition(topic, number) for number in range(6)]
    for tp in parts:
        await asyncio.to_thread(produce, topic, 5000, partition=tp.partition, pad=100)
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        for tp in parts:
            fetcher.assign(tp, 0)
        got = await collect(fetcher, reached(dict.fromkeys(parts, 5000)))
        for tp in parts:
            assert offsets_of(part for part in got if part.tp == tp) == list(range(5000))
        assert fetcher.view(parts[0]).last_stable_offset == 5000
        assert fetcher.troubles == []
    assert admission.held == 0


async def test_fetch_inside_a_batch_gives_the_batch_that_contains_the_offset(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    await asyncio.to_thread(produce, topic, 100, settings={"linger.ms": 200})
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(TopicPartition(topic, 0), 42)
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
    assert part.fetch_offset == 42 and part.next_offset == 100
    assert offsets_of([part])[0] <= 42


async def test_aborted_transactions_are_named_and_open_ones_hold_the_rest_back(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce, kafka: object
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 10, transaction=True)
    await asyncio.to_thread(produce, topic, 5, transaction=False)
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 0)
        got = await collect(fetcher, reached({tp: 17}))
    aborted = [entry for part in got for entry in part.aborted]
    assert [first for _, first in aborted] == [11]
    assert offsets_of(got) == list(range(17))


async def test_seek_makes_everything_fetched_before_count_no_more(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 2000, pad=1000)
    async with Fetcher(cluster, FetchOptions(smallest_fetch=65536, max_bytes=65536), admission) as fetcher:
        fetcher.assign(tp, 0)
        await eventually(lambda: fetcher.view(tp).position > 100)
        fetcher.seek(tp, 100)
        got = await collect(fetcher, reached({tp: 2000}))
    offsets = offsets_of(got)
    assert offsets[0] <= 100 and offsets == list(range(offsets[0], 2000))


async def test_nothing_fetched_before_a_drop_is_delivered_once_the_partition_is_assigned_again(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 1000)
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 0)
        await eventually(lambda: fetcher.view(tp).position > 0)
        fetcher.drop(tp)
        fetcher.assign(tp, 300)
        got = await collect(fetcher, reached({tp: 1000}))
    assert got[0].fetch_offset == 300


async def test_paused_partition_is_left_out_and_goes_on_where_it_stopped(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(partitions=2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await asyncio.to_thread(produce, topic, 1000, partition=0)
    async with Fetcher(cluster, replace(QUICK, connections_per_leader=1), admission) as fetcher:
        fetcher.assign(first, 0)
        fetcher.assign(second, 0)
        await collect(fetcher, reached({first: 1000}))
        fetcher.pause(first)
        await asyncio.to_thread(produce, topic, 1, partition=1)
        await collect(fetcher, reached({second: 1}))  # so the request that was on its way is answered
        await asyncio.to_thread(produce, topic, 1000, partition=0, start=1000)
        await asyncio.to_thread(produce, topic, 999, partition=1, start=1)
        got = await collect(fetcher, reached({second: 1000}))
        assert {part.tp for part in got} == {second} and await fetcher.next(0.4) is None
        assert fetcher.view(first).position == 1000
        fetcher.resume(first)
        got = await collect(fetcher, reached({first: 2000}))
    assert offsets_of(part for part in got if part.tp == first) == list(range(1000, 2000))


async def test_dropped_partition_is_delivered_no_more(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 1000)
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 0)
        await eventually(lambda: fetcher.view(tp).position == 1000)
        fetcher.drop(tp)
        assert await fetcher.next(0.3) is None
        assert fetcher.assigned == frozenset()
        await eventually(lambda: admission.held == 0)


async def test_position_in_another_topic_of_that_name_is_handed_over_and_nothing_is_fetched(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 100)
    own = (await cluster.metadata([topic])).topics[topic].topic_id
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 50, topic_id=UUID(int=7))
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
        assert (part.error, len(part.records)) == (KafkaCode.INCONSISTENT_TOPIC_ID, 0)
        fetcher.assign(tp, 50, topic_id=own)
        got = await collect(fetcher, reached({tp: 100}))
    assert all(part.error is None for part in got)


async def test_topic_made_again_while_its_partition_was_paused_is_not_fetched_at_the_old_position(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 100)
    own = (await cluster.metadata([topic])).topics[topic].topic_id
    async with Fetcher(cluster, FetchOptions(max_wait_ms=100, idle_wait_ms=100, trusted_pause_s=0.0), admission) as fetcher:
        fetcher.assign(tp, 0, topic_id=own)
        await collect(fetcher, reached({tp: 100}))
        fetcher.pause(tp)
        await delete_topics(cluster, [topic])
        await eventually(lambda: _made(cluster, topic), what="the topic is made again")
        await asyncio.to_thread(produce, topic, 300)
        fetcher.resume(tp)
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
    assert part.error is KafkaCode.INCONSISTENT_TOPIC_ID


async def _made(cluster: Cluster, topic: str) -> bool:
    return (await create_topics(cluster, [NewTopic(topic, 1, 1)]))[topic] is None


async def test_offset_that_retention_has_taken_is_handed_over_and_cured_by_seek(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 1000)
    assert await delete_records(cluster, {tp: 600}) == {tp: 600}
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 100)
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
        assert (part.error, part.log_start_offset) == (KafkaCode.OFFSET_OUT_OF_RANGE, 600) or part.log_start_offset == -1
        assert fetcher.view(tp).error is KafkaCode.OFFSET_OUT_OF_RANGE
        assert await fetcher.next(0.3) is None
        fetcher.seek(tp, 600)
        got = await collect(fetcher, reached({tp: 1000}))
    assert set(offsets_of(got)) >= set(range(600, 1000))


async def test_topic_that_does_not_exist_is_handed_over_after_the_grace(
    cluster: Cluster, admission: CountingAdmission, names: Names, topic: str, produce: Produce
) -> None:
    absent, present = TopicPartition(names.topic("absent"), 0), TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 10)
    options = FetchOptions(max_wait_ms=100, unknown_topic_grace_s=0.5)
    async with Fetcher(cluster, options, admission) as fetcher:
        fetcher.assign(absent, 0)
        fetcher.assign(present, 0)
        got = await collect(fetcher, lambda got: any(part.error for part in got) and reached({present: 10})(got))
    assert [part.error for part in got if part.tp == absent] == [KafkaCode.UNKNOWN_TOPIC_OR_PARTITION]


async def test_topic_deleted_while_it_is_fetched_is_handed_over(
    cluster: Cluster, admission: CountingAdmission, names: Names, produce: Produce
) -> None:
    topic = names.topic("deleted")
    tp = TopicPartition(topic, 0)
    assert await create_topics(cluster, [NewTopic(topic, 1)]) == {topic: None}
    options = FetchOptions(max_wait_ms=100, unknown_topic_grace_s=0.5)
    async with Fetcher(cluster, options, admission) as fetcher:
        fetcher.assign(tp, 0)
        await asyncio.to_thread(produce, topic, 10)
        await collect(fetcher, reached({tp: 10}))
        assert await delete_topics(cluster, [topic]) == {topic: None}
        (part,) = await collect(fetcher, lambda got: len(got) > 0)
    assert part.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_topic_made_after_it_was_assigned_is_fetched_within_the_grace(
    cluster: Cluster, admission: CountingAdmission, names: Names, produce: Produce
) -> None:
    topic = names.topic("later")
    tp = TopicPartition(topic, 0)
    async with Fetcher(cluster, FetchOptions(max_wait_ms=100, unknown_topic_grace_s=20), admission) as fetcher:
        fetcher.assign(tp, 0)
        await eventually(lambda: fetcher._states[tp].failures > 0)
        await create_topics(cluster, [NewTopic(topic, 1)])
        await asyncio.to_thread(produce, topic, 10)
        got = await collect(fetcher, reached({tp: 10}))
    assert offsets_of(got) == list(range(10)) and not any(part.error for part in got)
    await delete_topics(cluster, [topic])


async def test_batch_larger_than_asked_for_arrives_and_is_counted(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(config={"max.message.bytes": "6000000"})
    tp = TopicPartition(topic, 0)
    settings = {"message.max.bytes": 6_000_000, "queue.buffering.max.kbytes": 100_000}
    for start in range(3):
        await asyncio.to_thread(produce, topic, 1, start=start, pad=4_000_000, settings=settings)
    options = FetchOptions(max_wait_ms=100, smallest_fetch=65536, max_bytes=65536, partition_max_bytes=65536)
    async with Fetcher(cluster, options, admission) as fetcher:
        fetcher.assign(tp, 0)
        got = await collect(fetcher, reached({tp: 3}))
        assert offsets_of(got) == [0, 1, 2]
        assert admission.most >= 4_000_000
    assert admission.held == 0


async def test_nothing_is_fetched_while_the_budget_is_full(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 10)
    admission.open.clear()
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 0)
        assert await fetcher.next(0.5) is None and admission.acquired == 0
        admission.open.set()
        assert offsets_of(await collect(fetcher, reached({tp: 10}))) == list(range(10))


async def test_frames_that_are_not_released_are_counted_until_the_fetcher_closes(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 1000, pad=1000)
    fetcher = Fetcher(cluster, QUICK, admission)
    fetcher.assign(tp, 0)
    await eventually(lambda: fetcher.view(tp).position == 1000)
    assert admission.held >= 1_000_000
    await fetcher.close()
    assert admission.held == 0


@pytest.mark.parametrize("session_above", [1, 200])
async def test_partitions_move_between_connections_as_much_or_little_comes_and_none_misses_or_repeats_a_record(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce, session_above: int
) -> None:
    topic = await make_topic(partitions=8)
    parts = [TopicPartition(topic, number) for number in range(8)]
    narrow = replace(QUICK, smallest_fetch=16 << 10, max_bytes=128 << 10, partition_max_bytes=32 << 10, session_above=session_above)
    written, got, used = 0, [], []
    async with Fetcher(cluster, narrow, admission) as fetcher:
        for tp in parts:
            fetcher.assign(tp, 0)

        async def more(records: int, pad: int) -> None:
            nonlocal written
            for tp in parts:
                await asyncio.to_thread(produce, topic, records, partition=tp.partition, pad=pad, start=written)
            written += records
            got.extend(await collect(fetcher, noting(reached(dict.fromkeys(parts, written)))))

        def noting(done: Callable[[list[FetchedPartition]], bool]) -> Callable[[list[FetchedPartition]], bool]:
            def look(found: list[FetchedPartition]) -> bool:
                used.append(sum(len(channel) > 0 for channel in fetcher._channels()))
                return done(found)

            return look

        def together() -> bool:
            return sum(len(channel) > 0 for channel in fetcher._channels()) == 1

        for _ in range(3):
            await more(2000, pad=500)
            assert used[-1] == 2
            await eventually(together)
            await more(5, pad=10)
            assert used[-1] == 1
    for tp in parts:
        assert offsets_of(part for part in got if part.tp == tp) == list(range(written))
    assert admission.held == 0


@pytest.mark.timeout(300)
async def test_many_partitions_are_followed_by_sessions_in_which_only_changes_are_named(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(partitions=1010)
    parts = [TopicPartition(topic, number) for number in range(1010)]
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        for tp in parts:
            fetcher.assign(tp, 0)

        def sessions() -> list[tuple[int, int]]:
            return [(channel._session._epoch, len(channel)) for channel in fetcher._channels() if len(channel)]

        def followed() -> bool:
            return sum(count for _, count in sessions()) == 1010 and all(epoch > 2 for epoch, _ in sessions())

        await eventually(followed, 150.0, what="sessions over all partitions")
        for number in (0, 7, 599, 1009):
            await asyncio.to_thread(produce, topic, 50, partition=number)
        wanted = {parts[number]: 50 for number in (0, 7, 599, 1009)}
        got = await collect(fetcher, reached(wanted))
        assert {part.tp for part in got} == set(wanted)
        fetcher.pause(parts[7])
        await asyncio.to_thread(produce, topic, 50, partition=7, start=50)
        fetcher.resume(parts[7])
        got = await collect(fetcher, reached({parts[7]: 100}))
        assert offsets_of(got) == list(range(50, 100))


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_batches_of_every_codec_pass_as_they_are(
    cluster: Cluster, admission: CountingAdmission, topic: str, produce: Produce, codec: str
) -> None:
    tp = TopicPartition(topic, 0)
    await asyncio.to_thread(produce, topic, 500, pad=50, settings={"compression.type": codec})
    async with Fetcher(cluster, QUICK, admission) as fetcher:
        fetcher.assign(tp, 0)
        assert offsets_of(await collect(fetcher, reached({tp: 500}))) == list(range(500))
