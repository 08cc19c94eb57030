"""A gap is found while batches before it are on their way, and the target refuses these: what is lost begins with them
(kafka-replication.md §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import Pair
from tests.integration.kafka_replication.sides import set_configs
from tests.integration.kafka_replication.stories import contents, delete_records, eventually_holds, row_of
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import Exchange, KafkaProxy, kafka_proxy
from tests.support.replication_unit import caught_up
from tests.support.rules import Gate
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return await Pair.made(kafka, peer_kafka, names.topic("orders"))


class Overtaken:
    """Retention overtakes a batch of partition 0 that waits for a target which then takes nothing so large. Had the partition jumped as
    from behind that batch, the refused records would be missing and no word said of them."""

    def __init__(self, pair: Pair, source: KafkaProxy, target: KafkaProxy) -> None:
        self.pair, self.source, self._target = pair, source, target
        self.unit = pair.unit(reads=source.bootstrap_servers, writes=target.bootstrap_servers)

    async def copied(self) -> None:
        await create_topic(self.pair.target.servers, self.pair.topic, partitions=2)
        await self.pair.copied(self.unit, 100)
        self.first = await contents(self.pair.target)

    async def sent(self) -> Gate[Exchange]:
        """Until 50 records have been sent and 50 more are lost; opening the gate lets them be refused. Nothing is fetched yet."""
        produced = self._target.hold_request(ApiKey.PRODUCE)
        await self.pair.writer.write(50, [0])
        await produced.reached()
        self.fetches = self.source.hold_request(ApiKey.FETCH, count=None)
        await self.fetches.reached()  # both partitions share a connection: neither is still asked for
        await self.pair.writer.write(50, [0])
        await delete_records(self.pair.source.servers, self.pair.topic, 200)
        async with Cluster(self.pair.target.servers, KafkaSecurity(), client_id="tests") as target:
            await set_configs(target, self.pair.topic, {"max.message.bytes": "300"})
        self.source.forget_rules()
        return produced

    async def goes_on(self, runner: ReplicationRunner) -> None:
        """With what comes next, and what is lost was told."""
        await self.pair.writer.write(1, [0])
        await eventually_holds(self.pair.target, [*self.first, *await contents(self.pair.source)])
        await caught_up(runner)
        assert row_of(runner, self.pair.topic).gaps == 1
        assert "[100, 200)" in self.gaps[-1]

    @property
    def gaps(self) -> list[str]:
        return [message for _, code, message in self.unit.ledger.events if code == "gap"]


@pytest.fixture
async def overtaken(pair: Pair, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy) -> AsyncIterator[Overtaken]:
    async with kafka_proxy(peer_kafka) as source:
        made = Overtaken(pair, source, proxied_kafka)
        await made.copied()
        yield made


async def test_what_is_refused_while_a_gap_waits_for_its_report_is_part_of_it(overtaken: Overtaken) -> None:
    ledger = overtaken.unit.ledger
    async with overtaken.unit.running() as runner:
        await caught_up(runner)
        produced = await overtaken.sent()
        ledger.answers.clear()
        overtaken.fetches.release()
        await eventually(lambda: ledger.codes and ledger.asked, what="the gap is told and its report waited for")
        produced.release()
        await eventually(lambda: len(ledger.codes) > 1, what="the gap is told as it is now")
        ledger.answers.set()
        await overtaken.goes_on(runner)
    assert "[150, 200)" in overtaken.gaps[0]


async def test_what_is_refused_while_the_source_is_asked_about_a_gap_is_part_of_it(
    overtaken: Overtaken, proxied_kafka: KafkaProxy
) -> None:
    async with overtaken.unit.running() as runner:
        await caught_up(runner)
        produced = await overtaken.sent()
        bounds = overtaken.source.hold_request(ApiKey.LIST_OFFSETS)
        overtaken.fetches.release()
        await bounds.reached()
        over = proxied_kafka.on_answer(ApiKey.END_TXN, lambda exchange: None)
        produced.release()
        await over.hit()
        bounds.release()
        await overtaken.goes_on(runner)
    assert len(overtaken.gaps) == 1
