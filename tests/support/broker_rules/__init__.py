"""The rules of kafka-replication.md §6.1, asked in raw requests of whatever broker is at the other end: a real Kafka in
`tests/integration/kafka/test_broker_rules.py`, the fake one in `tests/unit/kafka/test_fake_broker.py`. That is what keeps the fake one
from drifting: a rule is added or changed here, once, and the real broker is right."""

from __future__ import annotations

from tests.support.broker_rules import batches, owners, sequences, transactions
from tests.support.broker_rules.registry import RULES, Rule

__all__ = ["RULES", "Rule", "batches", "owners", "sequences", "transactions"]
