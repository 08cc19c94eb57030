"""The fake broker keeps every rule that a real Kafka is asked for in `tests/integration/kafka/test_broker_rules.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.security import KafkaSecurity
from tests.support.broker_rules import RULES, Rule, owners, sequences
from tests.support.broker_rules.asking import Asker
from tests.support.fake_broker import FakeBroker, fake_broker


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with fake_broker() as broker:
        yield broker


@pytest.fixture
async def asker(broker: FakeBroker) -> AsyncIterator[Asker]:
    async with Cluster(broker.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        yield Asker(cluster, broker.make_topic)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
async def test_fake_broker_keeps_the_rule(asker: Asker, rule: Rule) -> None:
    await rule.ask(asker)


async def test_killed_fake_broker_remembers_the_last_batch_of_each_producer_only(broker: FakeBroker, asker: Asker) -> None:
    await sequences.killed_broker_remembers_the_last_batch_of_each_producer_only(asker, broker.kill_and_start)


async def test_coordinator_of_the_fake_broker_has_to_be_found_once(asker: Asker) -> None:
    await owners.coordinator_has_to_be_found_once_before_it_is_one(asker)


async def test_question_that_no_rule_covers_ends_the_test() -> None:
    with pytest.raises(AssertionError, match="API 16 "):
        async with fake_broker() as broker, Cluster(broker.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
            await cluster.metadata([])
            connection = await cluster.connection(1)
            with pytest.raises(ConnectionLost):
                await connection.exchange(messages.LIST_GROUPS, 0, [b""])
