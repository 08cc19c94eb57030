"""A gap is found while batches before it are on their way, and the target refuses these: what is lost begins with them
(kafka-replication.md §5)."""

from __future__ import annotations

import pytest

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import Pair
from tests.integration.kafka_replication.sides import set_configs
from tests.integration.kafka_replication.stories import contents, delete_records, eventually_holds, row_of
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy
from tests.support.replication_unit import caught_up
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return await Pair.made(kafka, peer_kafka, names.topic("orders"))


async def test_what_was_refused_before_a_gap_is_part_of_it(pair: Pair, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy) -> None:
    """Retention overtakes a batch that waits for a target which then takes nothing so large. The gap's report is late, and the partition
    may not jump before it: had it jumped, the refused records would be missing and no word said of them."""
    await create_topic(pair.target.servers, pair.topic, partitions=2)
    async with kafka_proxy(peer_kafka) as source:
        unit = pair.unit(reads=source.bootstrap_servers, writes=proxied_kafka.bootstrap_servers)
        await pair.copied(unit, 100)
        first = await contents(pair.target)
        async with unit.running() as runner:
            await caught_up(runner)
            produced = proxied_kafka.hold_request(ApiKey.PRODUCE)
            await pair.writer.write(50, [0])
            await produced.reached()
            fetches = source.hold_request(ApiKey.FETCH, count=None)
            await fetches.reached()
            await pair.writer.write(50, [0])
            await delete_records(pair.source.servers, pair.topic, 200)
            async with Cluster(pair.target.servers, KafkaSecurity(), client_id="tests") as target:
                await set_configs(target, pair.topic, {"max.message.bytes": "300"})
            unit.ledger.answers.clear()
            source.forget_rules()
            fetches.release()
            await eventually(lambda: unit.ledger.codes, what="the gap is told")
            await eventually(lambda: unit.ledger.asked, what="its report is waited for")
            produced.release()
            await eventually(lambda: len(unit.ledger.codes) > 1, what="the gap is told as it is now")
            unit.ledger.answers.set()
            await pair.writer.write(1, [0])
            await eventually_holds(pair.target, [*first, *await contents(pair.source)])
            await caught_up(runner)
            assert row_of(runner, pair.topic).gaps == 1
    gaps = [message for _, code, message in unit.ledger.events if code == "gap"]
    assert "[150, 200)" in gaps[0] and "[100, 200)" in gaps[-1]
