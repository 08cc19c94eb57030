"""What several stories of one unit use."""

from __future__ import annotations

import asyncio
import time

import pytest

from smartconnect.jobs.kafka_replication import topic_keeper
from smartconnect.jobs.kafka_replication.topic_keeper import TopicKeeper
from smartconnect.jobs.kafka_replication.topic_view import Seen


@pytest.fixture
def looks_at_its_intervals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit in the test's own process does not look at its topics once more soon after its start. That look would find what the test does
    in the meantime: make a deleted target again, or keep what it saw until the next one. So the first look is the only one for a while, and
    lasts until it sees the topics that it has made: on a slow machine a broker does not know of them yet when they are made."""
    look = TopicKeeper.first_look

    async def first_look(keeper: TopicKeeper) -> Seen:
        until = time.monotonic() + 10
        while (seen := await look(keeper)).waiting and time.monotonic() < until:
            await asyncio.sleep(0.05)
        return seen

    monkeypatch.setattr(topic_keeper, "_SOON_TRIES", 0)
    monkeypatch.setattr(TopicKeeper, "first_look", first_look)
