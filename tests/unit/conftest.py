"""The fake broker, and our client of it, for tests of writing that need no service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from tests.support.fake_broker import FakeBroker, fake_broker


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    """With a topic `orders` of two partitions."""
    async with fake_broker() as broker:
        await broker.make_topic("orders", partitions=2)
        yield broker


@pytest.fixture
async def cluster(broker: FakeBroker) -> AsyncIterator[Cluster]:
    async with Cluster(broker.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        yield cluster
