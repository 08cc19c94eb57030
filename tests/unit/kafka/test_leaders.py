"""Asking leaders of whom some are away: nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.kafka import leaders
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.offsets import EARLIEST, READ_COMMITTED, ListedOffset, list_offsets
from smartconnect.kafka.types import TopicPartition
from tests.support.leaders import AWAY, FINE, LEADERLESS, OTHER, Leaders

BEGIN = ListedOffset(7, 0)


async def asked(cluster: Leaders) -> Mapping[TopicPartition, ListedOffset]:
    async with asyncio.timeout(3):
        return await list_offsets(cast(Cluster, cluster), dict.fromkeys((FINE, OTHER), EARLIEST), READ_COMMITTED, patient=False)


async def test_a_partition_without_a_leader_is_not_waited_for() -> None:
    cluster = Leaders(LEADERLESS)
    assert await asked(cluster) == {FINE: BEGIN, OTHER: ListedOffset(-1, -1, KafkaCode.LEADER_NOT_AVAILABLE)}
    assert cluster.invalidated == 0


async def test_a_leader_that_cannot_be_reached_costs_its_own_partitions() -> None:
    found = await asked(Leaders(AWAY, ClusterUnreachable("refused")))
    assert found == {FINE: BEGIN, OTHER: ListedOffset(-1, -1, KafkaCode.NETWORK_EXCEPTION)}


async def test_a_leader_that_says_nothing_costs_its_own_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaders, "_ANSWERS_WITHIN_S", 0.05)
    assert await asked(Leaders(AWAY)) == {FINE: BEGIN, OTHER: ListedOffset(-1, -1, KafkaCode.REQUEST_TIMED_OUT)}


async def test_a_leader_that_moves_is_followed() -> None:
    cluster = Leaders(3)
    cluster.answers[OTHER] = [KafkaCode.NOT_LEADER_OR_FOLLOWER] * 2
    assert await asked(cluster) == {FINE: BEGIN, OTHER: BEGIN}
    assert cluster.invalidated == 2
