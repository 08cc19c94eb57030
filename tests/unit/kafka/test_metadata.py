"""An answer that says what the last one to the same question said is the same object; nothing is kept for nobody."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import pytest
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from smartconnect.kafka.connection import Connection
from smartconnect.kafka.messages import Api
from smartconnect.kafka.metadata import MetadataReader
from smartconnect.kafka.types import ClusterMetadata

VERSION = 12
TopicPart = MetadataResponse.MetadataResponseTopic
PartitionPart = TopicPart.MetadataResponsePartition


class Broker:
    """Answers with the topics that it is asked for, each with `leader`."""

    def __init__(self) -> None:
        self.leader = 1
        self.throttle_ms = 0

    def version(self, api: Api) -> int:
        return VERSION

    async def exchange(self, api: Api, version: int, parts: Sequence[bytes]) -> memoryview:
        asked = MetadataRequest.decode(b"".join(parts), version=version)
        topics = [TopicPart(name=topic.name, partitions=[PartitionPart(leader_id=self.leader)]) for topic in asked.topics]
        self.throttle_ms += 1
        return memoryview(MetadataResponse(throttle_time_ms=self.throttle_ms, topics=topics).encode(version=version))


class Asking:
    """A reader and the broker that it asks."""

    def __init__(self) -> None:
        self.broker, self.reader = Broker(), MetadataReader()

    async def read(self, topics: Collection[str]) -> ClusterMetadata:
        return await self.reader.read(cast(Connection, self.broker), topics, False)


@pytest.fixture
def asking() -> Asking:
    return Asking()


async def test_questions_that_take_turns_each_find_their_last_answer(asking: Asking) -> None:
    first = {name: await asking.read([name]) for name in ("a", "b")}
    assert {name: await asking.read([name]) for name in ("a", "b")} == first
    assert all([await asking.read([name]) is first[name] for name in ("a", "b")])


async def test_what_has_changed_is_another_object(asking: Asking) -> None:
    first = await asking.read(["a"])
    asking.broker.leader = 2
    second = await asking.read(["a"])
    assert second is not first
    assert second.topics["a"].partitions[0].leader == 2
    assert await asking.read(["a"]) is second


async def test_nothing_is_kept_when_nobody_holds_the_answer(asking: Asking) -> None:
    held = await asking.read(["a"])
    for name in ("b", "c"):
        await asking.read([name])
    assert len(asking.reader._last) == 1
    del held
    assert not asking.reader._last
