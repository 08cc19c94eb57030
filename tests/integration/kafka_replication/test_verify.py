"""`verify` between two real clusters: quiet where the copy is right, and naming the record that was changed, dropped or doubled
(kafka-replication.md §12, §15.12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from smartconnect.domain.kafka_replication_spec import ReplicationOptions, Timestamps
from smartconnect.domain.verification import VerifyRequest
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.forging import both_ends
from tests.integration.kafka_replication.stories import delete_records
from tests.support.records import Outcome, Record, RecordWriter, WriterOptions, read_topic
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

Alter = Callable[[list[Record]], list[Record]]
AT = 1717


async def test_a_right_copy_is_equal_beside_the_live_task_in_a_shared_topic_and_after_a_restart(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, servers, target = names.topic("orders"), peer_kafka.bootstrap_servers, kafka.bootstrap_servers
    await create_topic(servers, topic, partitions=2)
    await create_topic(target, topic, partitions=2)
    strangers = RecordWriter(target, topic, 2, WriterOptions(tag="local"))
    writer = RecordWriter(servers, topic, 2, WriterOptions(codec="lz4", value_size=100, with_keys=True))
    await strangers.write(30)
    await writer.write(700)
    await writer.write_transaction(50, Outcome.ABORT)
    await writer.write_transaction(250)
    unit = UnitUnderTest(target, spec_of(servers, [topic]))
    async with both_ends(unit) as both:
        assert (await both.verify()).kinds == ["equal", "equal"], "nothing is committed yet, nothing is wrong"
        async with unit.running() as runner:
            await caught_up(runner)
            await strangers.write(20)
            await writer.write(50)
            await eventually(lambda: all(row.position == 1052 for row in runner.progress().partitions), 60, what="all is committed")
            found = await both.verify()
        assert (found.kinds, found.result.records, found.result.partitions) == (["equal", "equal"], 2000, 2), found
        newest = await both.verify(VerifyRequest(last=120))
        assert (newest.kinds, newest.result.records) == (["equal", "equal"], 240), newest

        unit.run_number, unit.ledger.runs = 2, (1,)
        async with unit.running() as runner:
            await caught_up(runner)
        again = await both.verify()
        assert (again.kinds, again.result.records) == (["equal", "equal"], 2000), "the copies of the first run are not this run's"
        assert (await both.verify(VerifyRequest(topic="another"))).result.partitions == 0


@pytest.fixture
async def original(peer_kafka: KafkaCluster, kafka: KafkaCluster, names: Names) -> str:
    """A topic of 3,000 records on the source, and an empty one of the same name on the target."""
    topic = names.topic("orders")
    await create_topic(peer_kafka.bootstrap_servers, topic)
    await create_topic(kafka.bootstrap_servers, topic)
    await RecordWriter(peer_kafka.bootstrap_servers, topic, options=WriterOptions(with_keys=True)).write(3000)
    return topic


ALTERED: dict[str, tuple[Alter, str]] = {
    "value": (lambda records: [*records[:AT], replace(records[AT], value=b"other"), *records[AT + 1 :]], "1 others"),
    "time": (lambda records: [*records[:AT], replace(records[AT], timestamp_ms=7), *records[AT + 1 :]], "1 others"),
    "header": (lambda records: [*records[:AT], replace(records[AT], headers=(("h", b""),)), *records[AT + 1 :]], "1 others"),
    "dropped": (lambda records: [*records[:AT], *records[AT + 1 :]], "1 record is not on the target"),
    "doubled": (lambda records: [*records[:AT], records[AT - 1], *records[AT:]], "the target has 1 more"),
}


@pytest.mark.parametrize("what", ALTERED)
async def test_one_record_that_is_not_as_it_was_is_found_and_named(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, original: str, what: str
) -> None:
    alter, told = ALTERED[what]
    records = (await read_topic(peer_kafka.bootstrap_servers, original))[0]
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(peer_kafka.bootstrap_servers, [original]))
    async with both_ends(unit) as both:
        await both.forge(original, alter(records), 3000)
        for request in (VerifyRequest(), VerifyRequest(last=2000)):
            found = await both.verify(request)
            assert (found.kinds, found.places) == (["differs"], [(AT, AT)]), found
            assert told in found.findings[0].message
            assert not found.result.good
        later = await both.verify(VerifyRequest(last=1000))
        assert (later.kinds, later.result.records) == (["equal"], 1000), later


async def test_faults_far_from_each_other_are_all_found_across_ranges(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, original: str
) -> None:
    await RecordWriter(peer_kafka.bootstrap_servers, original, options=WriterOptions(tag="more")).write(24_000)
    records = (await read_topic(peer_kafka.bootstrap_servers, original))[0]
    copies = [*records[:1], *records[3:12_000], *records[11_900:26_999], replace(records[26_999], value=b"other")]
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(peer_kafka.bootstrap_servers, [original]))
    async with both_ends(unit) as both:
        await both.forge(original, copies, 27_000)
        found = await both.verify()
    assert (found.kinds, found.places) == (["differs"] * 3, [(1, 1), (12_000, 11_998), (26_999, 27_097)]), found
    assert found.result.records == 27_000 - 2 - 1


async def test_what_retention_took_on_one_side_is_told_and_the_rest_compared(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, original: str
) -> None:
    records = (await read_topic(peer_kafka.bootstrap_servers, original))[0]
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(peer_kafka.bootstrap_servers, [original]))
    async with both_ends(unit) as both:
        await both.forge(original, records, 3000)
        await delete_records(peer_kafka.bootstrap_servers, original, 400)
        source_lost = await both.verify()
        await both.forge(original, [], 3000, target_next=3000, start=0)
        source_known = await both.verify()
        await delete_records(kafka.bootstrap_servers, original, 1000)
        both_lost = await both.verify()
        await delete_records(peer_kafka.bootstrap_servers, original, 3000)
        all_lost = await both.verify()
    assert (source_lost.kinds, source_lost.places[0]) == (["expired", "equal"], (400, 400)), source_lost
    assert (source_known.kinds, source_known.result.records) == (["expired", "equal"], 2600), source_known
    assert (both_lost.kinds, both_lost.places[0], both_lost.result.records) == (["expired", "equal"], (1000, 1000), 2000), both_lost
    assert (all_lost.kinds, all_lost.result.records) == (["expired"], 0), all_lost
    assert both_lost.findings[0].message.endswith("expired before source offset 1000 / target offset 1000")


async def test_a_topic_that_is_gone_or_ends_too_early_is_told(kafka: KafkaCluster, peer_kafka: KafkaCluster, original: str) -> None:
    records = (await read_topic(peer_kafka.bootstrap_servers, original))[0]
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(peer_kafka.bootstrap_servers, [original]))
    async with both_ends(unit) as both:
        await both.forge(original, records[:2000], 3000, target_next=3000)
        short = await both.verify()
        await delete_topics(kafka.bootstrap_servers, [original])
        gone = await both.verify()
    assert (short.kinds, gone.kinds) == (["differs"], ["differs"])
    assert "ends at 2000, before offset 3000" in short.findings[0].message
    assert "does not have" in gone.findings[0].message


async def test_compacted_topics_are_compared_as_far_as_both_are_whole(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, servers = names.topic("state"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic, config={"cleanup.policy": "compact"})
    await create_topic(kafka.bootstrap_servers, topic)
    await RecordWriter(servers, topic, options=WriterOptions(with_keys=True)).write(300)
    records = (await read_topic(servers, topic))[0]
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(servers, [topic]))
    async with both_ends(unit) as both:
        await both.forge(topic, [*records[:100], *records[90:]], 300)
        found = await both.verify()
    assert (found.kinds, found.result.records) == (["expired"], 100), found
    assert "the source topic is compacted" in found.findings[0].message


@pytest.mark.parametrize("timestamps", [Timestamps.SEEN, Timestamps.PRODUCER])
async def test_records_written_anew_are_equal_also_where_brokers_set_the_times(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names, timestamps: Timestamps
) -> None:
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    config = {"message.timestamp.type": "LogAppendTime"}
    for side in (servers, kafka.bootstrap_servers):
        await create_topic(side, topic, config=config)
    writer = RecordWriter(servers, topic, options=WriterOptions(codec="gzip", value_size=50))
    for _ in range(3):
        await writer.write(400)
    await writer.write_raw(0, None, key=b"k", headers=[("one", b"1"), ("two", None)])
    options = ReplicationOptions(refresh_interval_s=0.5, timestamps=timestamps)
    unit = UnitUnderTest(kafka.bootstrap_servers, replace(spec_of(servers, [topic], options), compression="zstd"))
    async with both_ends(unit) as both:
        async with unit.running() as runner:
            await caught_up(runner)
            assert runner.progress().counters["batches_rewritten"] > 0
        found = await both.verify()
    assert (found.kinds, found.result.records) == (["equal"], 1201), found
