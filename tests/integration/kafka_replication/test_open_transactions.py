"""Records behind an open transaction of somebody are held back, and that is told: otherwise it looks like a hang
(kafka-replication.md §4)."""

from __future__ import annotations

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.stories import row_of
from tests.support.mirror import Side, assert_mirrored, eventually_mirrored
from tests.support.records import Outcome, RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.value)
async def test_records_held_back_are_told_until_their_transaction_ends(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names, outcome: Outcome
) -> None:
    topic = names.topic("orders")
    source, target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
    await create_topic(source.servers, topic)
    writer = RecordWriter(source.servers, topic)
    await writer.write(10)
    async with UnitUnderTest(target.servers, spec_of(source.servers, [topic])).running() as runner:
        await caught_up(runner)
        transaction = await writer.open_transaction(50, outcome)
        await eventually(lambda: row_of(runner, topic).held_by_open_transaction == 50, what="50 records are held back")
        assert row_of(runner, topic).lag_records == 0
        await assert_mirrored(source, target)
        await transaction.end()
        await writer.write(10)
        await eventually(lambda: row_of(runner, topic).held_by_open_transaction is None, what="nothing is held back any more")
        await eventually_mirrored(source, target)
        assert runner.progress().counters["records_out"] == (70 if outcome is Outcome.COMMIT else 20)
