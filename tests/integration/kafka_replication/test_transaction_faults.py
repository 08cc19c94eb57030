"""A fault between any two steps of the transaction, each with real brokers behind a proxy: whatever is lost, late or doubled, the target is
the source's mirror (kafka-replication.md §6.4, §15.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from smartconnect.domain.errors import Fenced
from smartconnect.engine.unit import StopSignal
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy, KafkaRule
from tests.support.mirror import Side, assert_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import Supervised, UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic

Break = Callable[[KafkaProxy], KafkaRule]

AT_THE_START: dict[str, Break] = {
    "coordinator lookup lost": lambda proxy: proxy.drop_answer(ApiKey.FIND_COORDINATOR),
    "init never arrives": lambda proxy: proxy.close_before(ApiKey.INIT_PRODUCER_ID),
    "init answer lost": lambda proxy: proxy.drop_answer(ApiKey.INIT_PRODUCER_ID),
    "metadata lost": lambda proxy: proxy.drop_answer(ApiKey.METADATA),
}
UNDER_WAY: dict[str, Break] = {
    "add partitions never arrives": lambda proxy: proxy.close_before(ApiKey.ADD_PARTITIONS_TO_TXN),
    "add partitions answer lost": lambda proxy: proxy.drop_answer(ApiKey.ADD_PARTITIONS_TO_TXN),
    "produce never arrives": lambda proxy: proxy.close_before(ApiKey.PRODUCE),
    "produce answer lost": lambda proxy: proxy.drop_answer(ApiKey.PRODUCE),
    "end never arrives": lambda proxy: proxy.close_before(ApiKey.END_TXN),
    "end answer lost": lambda proxy: proxy.drop_answer(ApiKey.END_TXN),
}


class Copying:
    """A topic on the peer that a unit copies through a proxy before the current cluster."""

    def __init__(self, kafka: KafkaCluster, peer_kafka: KafkaCluster, proxy: KafkaProxy, topic: str) -> None:
        self.source, self.target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic, 2, WriterOptions(value_size=50))
        self.unit = UnitUnderTest(proxy.bootstrap_servers, spec_of(self.source.servers, [topic]))

    async def mirrored(self, running: Supervised) -> None:
        await caught_up(running)
        await assert_mirrored(self.source, self.target)


@pytest.fixture
async def copying(kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names) -> Copying:
    topic = names.topic("orders")
    await create_topic(peer_kafka.bootstrap_servers, topic, partitions=2)
    return Copying(kafka, peer_kafka, proxied_kafka, topic)


@pytest.mark.parametrize("fault", AT_THE_START)
async def test_a_call_fails_at_the_start(copying: Copying, proxied_kafka: KafkaProxy, fault: str) -> None:
    await copying.writer.write(300)
    async with copying.unit.supervised() as running:
        await caught_up(running)
    rule = AT_THE_START[fault](proxied_kafka)
    await copying.writer.write(300)
    async with copying.unit.supervised() as running:
        await rule.hit()
        await copying.mirrored(running)


@pytest.mark.parametrize("fault", UNDER_WAY)
async def test_a_call_fails_under_way(copying: Copying, proxied_kafka: KafkaProxy, fault: str) -> None:
    await copying.writer.write(300)
    async with copying.unit.supervised() as running:
        await caught_up(running)
        rule = UNDER_WAY[fault](proxied_kafka)
        for _ in range(3):
            await copying.writer.write(200)
        await rule.hit()
        await copying.writer.write(200)
        await copying.mirrored(running)


async def test_a_late_copy_of_the_commit_arrives_inside_the_next_transaction(copying: Copying, proxied_kafka: KafkaProxy) -> None:
    """The first EndTxn is lost to us but not to the network: its copy comes when the next transaction has data and no position yet."""
    ends: list[Request] = []
    await copying.writer.write(100)
    async with copying.unit.supervised() as running:
        await caught_up(running)
        proxied_kafka.on_request(ApiKey.END_TXN, ends.append)
        lost = proxied_kafka.drop_answer(ApiKey.END_TXN)
        await copying.writer.write(100)
        await lost.hit()
        await caught_up(running)
        gate = proxied_kafka.hold_request(ApiKey.END_TXN)
        await copying.writer.write(100)
        await gate.reached()
        assert ends, "no EndTxn was seen"
        await proxied_kafka.send_again(ends[0])
        gate.release()
        await copying.mirrored(running)
    assert any(error.code == "answer_lost" for error in running.errors)


async def test_of_two_owners_only_the_newer_one_writes(copying: Copying) -> None:
    """A sleeper that wakes up knows nothing of its successor: Kafka refuses it."""
    await copying.writer.write(500)
    for _ in range(4):
        old, old_stop = copying.unit.runner(), StopSignal()
        sleeper = asyncio.create_task(old.run(old_stop))
        await caught_up(old)
        async with copying.unit.supervised() as running:
            await caught_up(running)  # it has taken over: what comes now the sleeper can only try to write
            await copying.writer.write(500)
            with pytest.raises(Fenced):
                await sleeper
            await copying.mirrored(running)
