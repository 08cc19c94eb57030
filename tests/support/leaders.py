"""As much of a cluster as asking its partitions' leaders needs: one leader is fine, the other one as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from smartconnect.kafka import messages
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.messages import Api
from smartconnect.kafka.timing import Pauses, Timing
from smartconnect.kafka.types import PartitionInfo, TopicInfo, TopicPartition

FINE, OTHER = TopicPartition("orders", 0), TopicPartition("orders", 1)
LEADERLESS, AWAY = -1, 2


class Leaders:
    """Partition 0 is led by node 1, which answers; partition 1 by `other`. `AWAY` is silent, or fails. All logs begin at 7."""

    def __init__(self, other: int, failing: Exception | None = None) -> None:
        self.bootstrap_servers, self.timing = "unused:1", Timing()
        self.other, self.failing, self.invalidated = other, failing, 0
        self.answers: dict[TopicPartition, list[KafkaCode]] = {}
        self.leaders = SimpleNamespace(invalidate=self._invalidated, topic=self._topic)

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    def pauses(self, shortest_s: float, longest_s: float) -> Pauses:
        return Pauses(shortest_s, longest_s, lambda: 1.0)

    async def leaders_of(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        nodes = {FINE: 1, OTHER: self.other}
        return {tp: (nodes[tp], 0) for tp in partitions if nodes[tp] != LEADERLESS}

    async def connection(self, node_id: int) -> Leaders:
        if node_id == AWAY and self.failing is None:
            await asyncio.Event().wait()
        if node_id == AWAY and self.failing is not None:
            raise self.failing
        return self

    async def call(self, api: Api, fields: Mapping[str, Any]) -> Any:
        assert api is messages.LIST_OFFSETS
        return SimpleNamespace(
            topics=[
                SimpleNamespace(name=topic["name"], partitions=[self._listed(topic["name"], p) for p in topic["partitions"]])
                for topic in fields["topics"]
            ]
        )

    def _listed(self, topic: str, asked: Mapping[str, int]) -> Any:
        number = asked["partition_index"]
        told = self.answers.get(TopicPartition(topic, number))
        code = told.pop(0) if told else 0
        return SimpleNamespace(partition_index=number, error_code=int(code), offset=7, leader_epoch=0, timestamp=-1)

    def _invalidated(self, topics: Collection[str]) -> None:
        self.invalidated += 1

    def _topic(self, name: str) -> TopicInfo:
        return TopicInfo(name, None, dict.fromkeys((0, 1), PartitionInfo(LEADERLESS, 0, (1,), (1,), None)), None, False, None)
