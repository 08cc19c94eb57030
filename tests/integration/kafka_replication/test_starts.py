"""Where the copy of a partition began is known to every owner (kafka-replication.md §6.3, §12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.forging import both_ends
from tests.integration.kafka_replication.pair import Pair
from tests.integration.kafka_replication.stories import delete_records, row_of
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.replication_unit import caught_up
from tests.support.services import Names
from tests.support.waiting import eventually


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return await Pair.made(kafka, peer_kafka, names.topic("orders"))


async def test_the_start_outlives_its_owner_although_nobody_reported_it(pair: Pair) -> None:
    unit = pair.unit()
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 40)
    for _ in range(3):
        async with unit.running() as runner:
            await caught_up(runner)
            assert [row_of(runner, pair.topic, number).start_offset for number in (0, 1)] == [40, 0]
        await pair.writer.write(10)
    await pair.made_again(30)
    for _ in range(2):
        async with unit.running() as runner:
            await eventually(lambda: row_of(runner, pair.topic).position == 30, 60, what="the new topic is copied")
            assert [row_of(runner, pair.topic, number).start_offset for number in (0, 1)] == [0, 0]


async def test_the_next_owner_goes_on_with_the_percentage(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names
) -> None:
    pair = await Pair.made(peer_kafka, kafka, names.topic("orders"))
    unit = pair.unit(reads=proxied_kafka.bootstrap_servers)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        await unit.ledger.report()
    unit.ledger.reported = {key: replace(row, initial_end=400) for key, row in unit.ledger.reported.items()}
    await pair.writer.write(300)
    fetches = proxied_kafka.hold_request(ApiKey.FETCH, count=None)
    async with unit.running() as runner:
        await fetches.reached()
        await eventually(lambda: runner.progress().percent == 25.0, what="a quarter of the initial copy is done")
        fetches.release()
        await caught_up(runner)
        await eventually(lambda: runner.progress().phase == "replicating", what="the initial copy is done")


async def test_verify_tells_what_retention_took_since_the_start_although_owners_changed(pair: Pair) -> None:
    """Of a second run: in the first one the target's beginning would tell it as well."""
    unit = pair.unit()
    await pair.copied(unit, 100)
    unit.run_number, unit.ledger.runs = 2, (1,)
    for _ in range(2):
        async with unit.running() as runner:
            await caught_up(runner)
        await pair.writer.write(10)
    await delete_records(pair.source.servers, pair.topic, 50)
    async with both_ends(unit) as both:
        found = await both.verify()
    assert found.kinds == ["expired", "equal", "equal"], found
    assert found.places[0][0] == 50
