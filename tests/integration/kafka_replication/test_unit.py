"""One unit in this process between two real clusters: what a read_committed reader of the source sees is what one of the target sees."""

from __future__ import annotations

import asyncio

import pytest

from smartconnect.domain.errors import Fatal, Fenced
from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationOptions
from smartconnect.engine.unit import StopSignal
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.mirror import Side, assert_mirrored, eventually_mirrored
from tests.support.records import Outcome, RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic


async def test_a_topic_appears_with_its_records_in_order(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic, partitions=3)
    writer = RecordWriter(servers, topic, 3, WriterOptions(codec="lz4", value_size=200, with_keys=True))
    await writer.write(2000)
    await writer.write_transaction(300)
    await writer.write_transaction(300, Outcome.ABORT)
    await writer.write(100)
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(servers, [topic]))
    async with unit.running() as runner:
        await caught_up(runner)
        await assert_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))
        await writer.write(500)
        await eventually_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))
        counters = runner.progress().counters
    assert counters["batches_passed"] > 0
    assert counters["records_out"] == 3 * 2900


async def test_the_next_incarnation_goes_on_where_the_last_one_stopped(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic, partitions=2)
    writer = RecordWriter(servers, topic, 2)
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(servers, [topic]))
    for _ in range(4):
        await writer.write(700)
        async with unit.running() as runner:
            await caught_up(runner)
        life = asyncio.create_task(unit.runner().run(StopSignal()))
        await writer.write(300)
        await unit.kill(life)
    async with unit.running() as runner:
        await caught_up(runner)
        await assert_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))


async def test_at_least_once_copies_without_transactions(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic, partitions=2)
    writer = RecordWriter(servers, topic, 2, WriterOptions(codec="zstd"))
    options = ReplicationOptions(delivery=Delivery.AT_LEAST_ONCE, refresh_interval_s=0.5)
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(servers, [topic], options))
    for _ in range(2):
        await writer.write(1000)
        async with unit.running() as runner:
            await caught_up(runner)
    async with unit.running() as runner:
        await caught_up(runner)
        await assert_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))
        assert runner.progress().counters["records_out"] == 0


async def test_a_later_run_on_the_target_is_never_overwritten(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    """The registry was restored from a backup: it knows run 1, the target holds positions of run 2."""
    topic, servers = names.topic("orders"), peer_kafka.bootstrap_servers
    await create_topic(servers, topic)
    await RecordWriter(servers, topic).write(100)
    unit = UnitUnderTest(kafka.bootstrap_servers, spec_of(servers, [topic]), run_number=2)
    async with unit.running() as runner:
        await caught_up(runner)
    unit.run_number = 1
    unit.ledger.reported = {}
    with pytest.raises(Fatal, match="run 2, the registry knows run 1"):
        await unit.runner().run(StopSignal())
    assert unit.ledger.later_run == 2, "a restart begins above it"
    unit.ledger.ours = False
    with pytest.raises(Fenced):
        await unit.runner().run(StopSignal())
    await assert_mirrored(Side(servers, topic), Side(kafka.bootstrap_servers, topic))
