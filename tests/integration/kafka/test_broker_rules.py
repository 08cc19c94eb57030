"""The rules that our writing rests on, asked of a real Kafka; the fake broker is asked the same in `tests/unit/kafka`."""

from __future__ import annotations

import pytest

from smartconnect.kafka.cluster import Cluster
from tests.conftest import MakeTopic
from tests.support.broker_rules import RULES, Rule
from tests.support.broker_rules.asking import Asker


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
async def test_kafka_keeps_the_rule(cluster: Cluster, make_topic: MakeTopic, rule: Rule) -> None:
    await rule.ask(Asker(cluster, make_topic))
