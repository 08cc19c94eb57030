"""When lanes on which Kafka may have left a transaction open are looked at."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from smartconnect.jobs.kafka_replication import left_open
from smartconnect.jobs.kafka_replication.left_open import LeftOpen
from smartconnect.jobs.kafka_replication.partition import Lane
from smartconnect.kafka.open_transactions import OpenTransactions
from smartconnect.kafka.types import TopicPartition

DATA, POSITIONS = TopicPartition("orders", 0), TopicPartition("positions", 0)


class Scene:
    """One lane; `asked`: the partitions whose leaders were asked, and none of them has anything open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, blocked: object) -> None:
        self.now, self.asked = 100.0, list[TopicPartition]()
        self.lane, self.partition = Lane(DATA), SimpleNamespace(selected=True, blocked=blocked)
        self.target = SimpleNamespace(losses=0, pauses=lambda *_: None)
        stamp = SimpleNamespace(producer_id=7)
        inc: Any = SimpleNamespace(
            target=self.target,
            clock=SimpleNamespace(monotonic=lambda: self.now),
            guard=SimpleNamespace(transactional_id="id", stamp=stamp),
            positions=SimpleNamespace(tp=POSITIONS),
        )
        by_lane: Any = {self.lane: self.partition}
        self.left_open = LeftOpen(inc, by_lane)
        monkeypatch.setattr(left_open, "open_transactions", self._open_transactions)

    async def _open_transactions(self, _: object, tps: Collection[TopicPartition], producer_id: int) -> OpenTransactions:
        assert producer_id == 7
        self.asked += tps
        return OpenTransactions({}, {})


async def test_all_lanes_are_looked_at_once_for_each_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, blocked=None)
    for losses in (0, 1, 4):
        scene.target.losses = losses
        assert scene.left_open.is_due
        await scene.left_open.look()
        scene.now += 60
        assert scene.lane.clear and not scene.left_open.is_due
    assert scene.asked.count(DATA) == 3


async def test_the_lane_of_a_blocked_partition_is_looked_at_when_it_is_not_blocked_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that dies may be why it is blocked, and nothing more may come that would have it looked at."""
    scene = Scene(monkeypatch, blocked="its target lacks replicas")
    await scene.left_open.look()
    assert not scene.lane.clear and not scene.left_open.is_due
    scene.now += 6
    assert scene.left_open.is_due
    await scene.left_open.look()
    assert DATA not in scene.asked
    scene.partition.blocked = None
    scene.now += 6
    assert scene.left_open.is_due
    await scene.left_open.look()
    scene.now += 60
    assert scene.lane.clear and not scene.left_open.is_due


async def test_the_lane_of_a_partition_that_is_not_selected_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, blocked=None)
    scene.partition.selected = False
    await scene.left_open.look()
    scene.now += 60
    assert not scene.left_open.is_due and DATA not in scene.asked
