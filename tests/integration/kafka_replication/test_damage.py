"""Batches whose bytes are not what their producer sent: on the wire they are fetched again, on the source's disk their partition stands
still. Never copied, never skipped, and nobody else's trouble (kafka-replication.md §3, §11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.domain.kafka_replication_spec import Delivery
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import CONTINUE, Pair
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import assert_mirrored, eventually_mirrored
from tests.support.replication_unit import caught_up
from tests.support.services import Names

MARK = b"a value that does not stay what it is"
BENT = MARK.replace(b"stay", b"st4y")


class Damage:
    """Bends the marked record in the fetch answers that carry it, `times` of them; `left` says how many it may still bend."""

    def __init__(self, proxy: KafkaProxy, times: int) -> None:
        self.left, self.bent = times, 0
        proxy.rewrite_answer(ApiKey.FETCH, self._bend, count=None)

    def _bend(self, request: Request, answer: bytes) -> bytes:
        if MARK not in answer or not self.left:
            return answer
        self.left, self.bent = self.left - 1, self.bent + 1
        return answer.replace(MARK, BENT)


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    """The source is here, behind a proxy."""
    return await Pair.made(peer_kafka, kafka, names.topic("orders"))


async def written(pair: Pair) -> None:
    """Batches before and behind the marked one, and in the other partition."""
    for _ in range(3):
        await pair.writer.write(20)
    await pair.writer.write_raw(0, MARK)
    for _ in range(3):
        await pair.writer.write(20)


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_batch_that_is_damaged_on_its_way_is_fetched_again(
    pair: Pair, proxied_kafka: KafkaProxy, delivery: Delivery
) -> None:
    await written(pair)
    damage = Damage(proxied_kafka, times=1)
    unit = pair.unit(replace(CONTINUE, delivery=delivery), reads=proxied_kafka.bootstrap_servers)
    async with unit.running() as runner:
        await eventually_mirrored(pair.source, pair.target)
        await caught_up(runner)
        assert runner.progress().counters["damaged_batches"] == damage.bent == 1
        assert row_of(runner, pair.topic).reason is None
    await assert_mirrored(pair.source, pair.target)
    assert unit.ledger.codes == []


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_batch_that_stays_damaged_stops_its_partition_alone_until_somebody_acts(
    pair: Pair, proxied_kafka: KafkaProxy, delivery: Delivery
) -> None:
    await written(pair)
    damage = Damage(proxied_kafka, times=1000)
    unit = pair.unit(replace(CONTINUE, delivery=delivery), reads=proxied_kafka.bootstrap_servers)
    async with unit.running() as runner:
        row = await blocked(runner, pair.topic, "damaged_batch")
        assert row.reason is not None and f"{pair.topic}-0" in row.reason.message and "offset 60" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert await contents(pair.target) == (await contents(pair.source))[:60]
        assert runner.progress().counters["damaged_batches"] == damage.bent == 3
        assert row_of(runner, pair.topic, 1).reason is None
    assert unit.ledger.codes == ["damaged_batch"]

    damage.left = 0
    async with unit.running() as runner:
        await eventually_mirrored(pair.source, pair.target)
        await caught_up(runner)
    await assert_mirrored(pair.source, pair.target)
