"""A Kafka broker of one node in this process: strict where our writing depends on it, and nothing else.

Guarantees that every rule of `tests/support/broker_rules` is kept as by a real Kafka, in the words and numbers of its answers; that what
no rule asks for (other APIs, versions, key types) is refused loudly: the connection is closed and the test fails. For fast tests of what
is slow or rare with a real broker: answers that are lost, markers that take their time, copies that come late.

Deliberately missing: replication, authorization, quotas, retention, groups, transaction timeouts, version 2 of transactions (KIP-890's
epochs for each transaction), which our client does not speak."""

from __future__ import annotations

from tests.support.fake_broker.server import FakeBroker, fake_broker

__all__ = ["FakeBroker", "fake_broker"]
