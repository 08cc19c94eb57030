"""The two deliveries, as a rule that is asked of both sees them."""

from __future__ import annotations

from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.types import TopicPartition
from tests.support.broker_rules.asking import Asker, Owner


async def writer(ask: Asker, transactional: bool, *parts: TopicPartition) -> Owner:
    """A new producer that may write to the parts; inside of a transaction of its own if asked for."""
    if not transactional:
        return await ask.producer()
    owner = await ask.owner()
    await begin(ask, owner, *parts)
    return owner


async def begin(ask: Asker, owner: Owner, *parts: TopicPartition) -> None:
    """A transaction with these parts in it."""
    assert set((await ask.add(owner, *parts)).values()) == {KafkaCode.NONE}
