"""Groups as storage of positions, and what administration sees of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import BrokerRefused
from smartconnect.kafka.groups import (
    Committed,
    GroupOffsets,
    OffsetCommit,
    commit_offsets,
    delete_groups,
    describe_group,
    fetch_offsets,
    list_groups,
)
from smartconnect.kafka.many_groups import fetch_offsets_of
from smartconnect.kafka.messages import Api
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster
from tests.conftest import MakeTopic
from tests.support.services import Names
from tests.support.waiting import eventually


async def test_all_offsets_of_a_group_are_read_back(cluster: Cluster, names: Names, make_topic: MakeTopic) -> None:
    first, second = await make_topic("a", partitions=3), await make_topic("b")
    wanted = {TopicPartition(first, number): OffsetCommit(number * 10, 2, f"m{number}") for number in range(3)}
    wanted[TopicPartition(second, 0)] = OffsetCommit(7)
    await commit_offsets(cluster, names.group(), wanted)
    found = await fetch_offsets(cluster, names.group(), require_stable=True)
    assert found.unstable == frozenset()
    assert found.committed == {tp: Committed(c.offset, c.leader_epoch, c.metadata) for tp, c in wanted.items()}


@pytest.mark.parametrize("broker", ["knows many", "knows one"])
async def test_many_groups_are_asked_for_in_few_questions_where_brokers_know_that(
    cluster: Cluster, names: Names, topic: str, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    tp, groups = TopicPartition(topic, 0), [names.group(f"g{number}") for number in range(120)]
    for number, group in enumerate(groups):
        await commit_offsets(cluster, group, {tp: OffsetCommit(number)})
    asked: list[int] = []
    call = Connection.call

    async def counting(connection: Connection, api: Api, fields: Mapping[str, Any], **more: Any) -> Any:
        if api is messages.OFFSET_FETCH:
            asked.append(len(fields.get("groups", [""])))
        return await call(connection, api, fields, **more)

    monkeypatch.setattr(Connection, "call", counting)
    if broker == "knows one":
        monkeypatch.setattr(messages, "OFFSET_FETCH", replace(messages.OFFSET_FETCH, highest=7))
    found = await fetch_offsets_of(cluster, [*groups, names.group("never")])
    assert asked == ([100, 21] if broker == "knows many" else [1] * 121)
    assert [told.committed[tp].offset for group in groups if isinstance(told := found[group], GroupOffsets)] == list(range(120))
    assert found[names.group("never")] == GroupOffsets({}, frozenset())


async def test_group_that_never_was_has_no_offsets_and_is_dead(cluster: Cluster, names: Names) -> None:
    found = await fetch_offsets(cluster, names.group("never"), require_stable=True)
    assert (found.committed, found.unstable) == ({}, frozenset())
    assert (await describe_group(cluster, names.group("never"))).state == "Dead"


async def test_group_is_listed_described_and_deleted(cluster: Cluster, names: Names, topic: str) -> None:
    group = names.group()
    await commit_offsets(cluster, group, {TopicPartition(topic, 0): OffsetCommit(1)})
    assert (await list_groups(cluster))[group] == "Empty"
    described = await describe_group(cluster, group)
    assert (described.state, described.members) == ("Empty", 0)
    assert described.operations is not None and {"READ", "DELETE", "DESCRIBE"} <= described.operations
    await delete_groups(cluster, [group, names.group("never")])
    assert group not in await list_groups(cluster)
    assert (await fetch_offsets(cluster, group, require_stable=True)).committed == {}


async def test_group_in_use_is_not_deleted(cluster: Cluster, kafka: KafkaCluster, names: Names, topic: str) -> None:
    group = names.group()
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": group, "log_level": 0})
    consumer.subscribe([topic])

    async def joined() -> bool:
        await asyncio.to_thread(consumer.poll, 0.2)
        return (await describe_group(cluster, group)).state == "Stable"

    try:
        await eventually(joined, 30.0)
        assert (await describe_group(cluster, group)).members == 1
        with pytest.raises(BrokerRefused) as refused:
            await delete_groups(cluster, [group])
        assert refused.value.kafka_code is KafkaCode.NON_EMPTY_GROUP
    finally:
        await asyncio.to_thread(consumer.close)
