"""The fake broker keeps every rule that a real Kafka is asked for in `tests/integration/kafka/test_broker_rules.py`."""

from __future__ import annotations

import pytest

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from tests.support.broker_rules import RULES, Rule
from tests.support.broker_rules.asking import Asker
from tests.support.fake_broker import fake_broker


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
async def test_fake_broker_keeps_the_rule(rule: Rule) -> None:
    async with (
        fake_broker() as broker,
        Cluster(broker.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
    ):
        await rule.ask(Asker(cluster, broker.make_topic))
