"""The rules that our writing rests on, asked of a real Kafka; the fake broker is asked the same in `tests/unit/kafka`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import kafka_cluster
from tests.conftest import MakeTopic
from tests.support.broker_rules import RULES, Rule, owners, sequences
from tests.support.broker_rules.asking import Asker
from tests.support.services import Names
from tests.support.topics import create_topic


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
async def test_kafka_keeps_the_rule(cluster: Cluster, make_topic: MakeTopic, rule: Rule) -> None:
    await rule.ask(Asker(cluster, make_topic))


async def test_kafka_that_nobody_has_used_and_that_is_killed_keeps_the_rules(names: Names) -> None:
    async with (
        kafka_cluster() as server,
        Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
    ):

        async def make_topic(suffix: str = "topic", *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
            name = names.topic(suffix)
            await create_topic(server.bootstrap_servers, name, partitions=partitions, config=config)
            return name

        async def kill_and_start() -> None:
            await server.nodes[0].kill()
            await server.nodes[0].start()

        asker = Asker(cluster, make_topic)
        await owners.coordinator_has_to_be_found_once_before_it_is_one(asker)
        await sequences.killed_broker_remembers_the_last_batch_of_each_producer_only(asker, kill_and_start)
