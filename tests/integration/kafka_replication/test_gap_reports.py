"""A gap is on record before anything is committed behind it, whatever dies, and is counted once (kafka-replication.md §5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from smartconnect.engine.unit import ReportedPosition, StopSignal
from smartconnect.jobs.kafka_replication.position_store import PositionStore
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import CONTINUE, STOP, Pair
from tests.integration.kafka_replication.stories import blocked, contents, delete_records, eventually_holds, row_of
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.replication_unit import UnitUnderTest, caught_up
from tests.support.services import Names
from tests.support.waiting import eventually


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return await Pair.made(kafka, peer_kafka, names.topic("orders"))


async def stored(unit: UnitUnderTest, pair: Pair, partition: int = 0) -> int:
    """The position that the target holds."""
    tp = TopicPartition(pair.topic, partition)
    async with Cluster(pair.target.servers, KafkaSecurity(), client_id="tests") as target:
        store = PositionStore(target, unit.task_id, unit.run_number, unit.direction)
        return (await store.read(lambda each: each == tp))[tp].next_source


async def test_nothing_behind_a_gap_is_committed_while_the_registry_is_silent(pair: Pair) -> None:
    unit = pair.unit()
    await pair.copied(unit, 100)
    first = await contents(pair.target)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)
    unit.ledger.answers.clear()
    async with unit.running():
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert unit.ledger.asked == 1
        assert await contents(pair.target) == first
    assert await stored(unit, pair) == 100, "a drain does not pass it either"
    assert await stored(unit, pair, 1) == 200

    unit.ledger.answers.set()
    async with unit.running() as runner:
        await eventually_holds(pair.target, [*first, *await contents(pair.source)])
        await caught_up(runner)
        assert unit.ledger.reported[pair.topic, 0].gaps == 1
    assert await stored(unit, pair) == 200


async def test_a_gap_that_is_on_record_when_its_owner_dies_is_counted_and_told_once(pair: Pair, proxied_kafka: KafkaProxy) -> None:
    unit = pair.unit(writes=proxied_kafka.bootstrap_servers)
    await pair.copied(unit, 100)
    first = await contents(pair.target)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)

    commits = proxied_kafka.hold_request(ApiKey.END_TXN, count=None)
    runner = unit.runner()
    life = asyncio.create_task(runner.run(StopSignal()))
    await eventually(lambda: unit.ledger.reported and unit.ledger.reported[pair.topic, 0].gaps == 1, what="the gap is on record")
    await commits.reached()
    await unit.kill(life)
    proxied_kafka.forget_rules()
    assert await stored(unit, pair) == 100

    async with unit.running() as runner:
        await eventually_holds(pair.target, [*first, *await contents(pair.source)])
        await caught_up(runner)
        assert (runner.progress().counters["gaps"], row_of(runner, pair.topic).gaps) == (1, 1)
    assert unit.ledger.codes == ["gap"]
    await delete_records(pair.source.servers, pair.topic, 200)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 230)
    async with unit.running() as runner:
        await caught_up(runner)
        assert (runner.progress().counters["gaps"], row_of(runner, pair.topic).gaps) == (2, 2), "the next gap is another one"
    assert unit.ledger.codes == ["gap", "gap"]


async def test_a_gap_that_has_grown_when_its_owner_dies_is_told_as_it_is_then(pair: Pair, proxied_kafka: KafkaProxy) -> None:
    """Retention goes on: what is lost now is more than what was told."""
    unit = pair.unit(writes=proxied_kafka.bootstrap_servers)
    await pair.copied(unit, 100)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)
    commits = proxied_kafka.hold_request(ApiKey.END_TXN, count=None)
    life = asyncio.create_task(unit.runner().run(StopSignal()))
    await eventually(lambda: unit.ledger.reported and unit.ledger.reported[pair.topic, 0].gaps == 1, what="the gap is on record")
    await commits.reached()
    await unit.kill(life)
    proxied_kafka.forget_rules()

    await delete_records(pair.source.servers, pair.topic, 180)
    async with unit.running() as runner:
        await caught_up(runner)
        assert row_of(runner, pair.topic).gaps == 1
    assert [message.split(";")[0][-31:] for _, _, message in unit.ledger.events] == [
        "[100, 150) before it was copied",
        "[100, 180) before it was copied",
    ]


async def test_a_position_that_goes_back_is_expected_before_it_is_committed(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names
) -> None:
    """As after an unclean election: the source says that its log was cut. Whoever comes behind the smaller position is not puzzled."""
    pair = await Pair.made(peer_kafka, kafka, names.topic("orders"))
    unit = pair.unit(replace(CONTINUE, group_sync_interval_s=0.2), reads=proxied_kafka.bootstrap_servers)
    unit.spec = replace(unit.spec, sync_offsets=True)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        await unit.ledger.report()
    assert unit.ledger.reported[pair.topic, 0].offset == 100

    cut = proxied_kafka.rewrite_answer(ApiKey.OFFSET_FOR_LEADER_EPOCH, _ends_at_80)
    fetches = proxied_kafka.hold_request(ApiKey.FETCH, count=None)
    life = asyncio.create_task(unit.runner().run(StopSignal()))

    async def went_back() -> bool:
        return await stored(unit, pair) == 80

    await eventually(went_back, what="the smaller position is committed", poll_s=0.1)
    await unit.kill(life)
    assert (cut.hits, unit.ledger.reported[pair.topic, 0].offset) == (1, 80)
    fetches.release()
    proxied_kafka.forget_rules()

    async with unit.running() as runner:
        await caught_up(runner)
        source = await contents(pair.source)
        await eventually_holds(pair.target, [*source, *source[80:]])
    assert set(unit.ledger.codes) == {"gap"}


def _ends_at_80(request: Request, answer: bytes) -> bytes:
    """The epoch's end of each partition, 80 instead of 100."""
    return answer.replace((100).to_bytes(8, "big"), (80).to_bytes(8, "big"))


async def test_a_gap_that_stops_a_partition_is_counted_once_by_all_its_owners(pair: Pair) -> None:
    unit = pair.unit(STOP)
    await pair.copied(unit, 100)
    await pair.writer.write(100)
    await delete_records(pair.source.servers, pair.topic, 150)
    for _ in range(2):
        async with unit.running() as runner:
            await blocked(runner, pair.topic, "gap")
            await unit.ledger.report()
            assert (runner.progress().counters["gaps"], row_of(runner, pair.topic).gaps) == (1, 1)


async def test_a_position_that_is_gone_stays_gone_for_the_next_owner(pair: Pair) -> None:
    """The row of a blocked partition shows what the target holds; what it must hold is not forgotten with that."""
    unit = pair.unit()
    await pair.copied(unit, 100)
    unit.ledger.reported = {(pair.topic, 0): ReportedPosition(120)}
    for _ in range(2):
        async with unit.running() as runner:
            row = await blocked(runner, pair.topic, "position_gone")
            assert row.position == 100
            await unit.ledger.report()
            assert unit.ledger.reported[pair.topic, 0].offset == 120
