"""The real produce channel and the real transactional id against the fake broker: answers that are lost, batches that are refused in the
middle of five, epochs that move on, and copies that come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from smartconnect.domain.errors import Fenced
from smartconnect.kafka.batch import parse_header
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import TransactionAborted
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.batch import CONTROL
from tests.support.broker_rules.asking import Owner
from tests.support.broker_rules.making import made, torn
from tests.support.fake_broker import FakeBroker
from tests.support.kafka_api import ApiKey
from tests.support.rules import Fate
from tests.support.waiting import eventually

TP, OTHER = TopicPartition("orders", 0), TopicPartition("orders", 1)
SOMEBODY = Owner(None, 4711, 0)
READ_COMMITTED = 1


class Channel:
    """A running channel, and what it told."""

    def __init__(self, cluster: Cluster, name: str | None = None) -> None:
        self.told: list[Outcome] = []
        self.channel = ProduceChannel(cluster, 1, ProduceOptions(transactional_id=name), self.told.extend)
        self._task = asyncio.create_task(self.channel.run())

    def put(self, *batches: bytes, tp: TopicPartition = TP) -> None:
        self.channel.put(tp, [OutgoingBatch(batch) for batch in batches])

    async def all_told(self, count: int) -> list[object]:
        """How so many batches ended: the base offset, the code of a refusal, or "lost"."""
        await eventually(lambda: len(self.told) >= count)
        return [ended(outcome) for outcome in self.told]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def ended(outcome: Outcome) -> object:
    if outcome.base_offset is not None:
        return outcome.base_offset
    return outcome.refused.error if outcome.refused is not None else "lost"


@pytest.fixture
async def channel(cluster: Cluster) -> AsyncIterator[Channel]:
    opened = Channel(cluster)
    yield opened
    await opened.close()


@pytest.fixture
async def owner(cluster: Cluster) -> TransactionalId:
    owner = TransactionalId(cluster, "unit-1")
    await owner.initialise()
    return owner


@pytest.fixture
async def inside(cluster: Cluster, owner: TransactionalId) -> AsyncIterator[Channel]:
    """A channel for the owner's transactions."""
    opened = Channel(cluster, owner.name)
    yield opened
    await opened.close()


def of(owner: TransactionalId) -> Owner:
    return Owner(owner.name, owner.producer_id, owner.epoch)


def data(broker: FakeBroker, tp: TopicPartition = TP) -> list[tuple[int, int]]:
    """(base offset, base sequence) of the batches of records in a partition."""
    headers = [parse_header(batch) for batch in broker.logs[tp].batches]
    return [(header.base_offset, header.base_sequence) for header in headers if not header.attributes & CONTROL]


async def test_lost_answer_and_the_same_batches_again_are_stored_once(broker: FakeBroker, channel: Channel) -> None:
    batches = [made(SOMEBODY, number) for number in range(6)]
    channel.put(batches[0])
    assert await channel.all_told(1) == [0]
    held = broker.hold_answer(ApiKey.PRODUCE)
    lost = broker.drop_answer(ApiKey.PRODUCE)
    channel.put(*batches[1:])
    await held.reached()
    held.release()
    assert await channel.all_told(6) == [0, *["lost"] * 5]
    assert lost.hits == 1 and data(broker) == [(0, 0), (1, 1)], "the first of the five is stored, and nobody knows"
    channel.told.clear()
    batches.append(made(SOMEBODY, 6))
    channel.put(batches[6])
    channel.channel.resume(TP)
    assert await channel.all_told(6) == [1, 2, 3, 4, 5, 6]
    assert [outcome.batch.records for outcome in channel.told] == batches[1:]
    assert data(broker) == [(number, number) for number in range(7)]


async def test_second_of_five_is_refused_and_what_is_behind_it_goes_out_again_in_order(
    broker: FakeBroker, channel: Channel
) -> None:
    batches = [made(SOMEBODY, number) for number in range(6)]
    channel.put(batches[0])
    channel.put(made(SOMEBODY, 0), tp=OTHER)
    await channel.all_told(2)
    channel.told.clear()
    channel.put(batches[1], torn(batches[2]), *batches[3:])
    behind = [KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER] * 3
    assert await channel.all_told(5) == [1, KafkaCode.CORRUPT_MESSAGE, *behind]
    assert channel.channel.stands_still(TP) and not channel.channel.stands_still(OTHER)
    assert [batch.records for batch in channel.channel.take_back(TP)] == [torn(batches[2]), *batches[3:]]
    channel.told.clear()
    channel.put(*batches[2:])
    assert await channel.all_told(4) == [2, 3, 4, 5]
    assert data(broker) == [(number, number) for number in range(6)]


async def test_first_batch_of_a_partition_is_answered_before_the_second_is_sent(broker: FakeBroker, channel: Channel) -> None:
    gate = broker.hold_request(ApiKey.PRODUCE)
    channel.put(torn(made(SOMEBODY, 0)), made(SOMEBODY, 1))
    await gate.reached()
    channel.put(made(SOMEBODY, 2))
    gate.release()
    assert await channel.all_told(1) == [KafkaCode.CORRUPT_MESSAGE]
    assert channel.channel.stands_still(TP) and channel.channel.unanswered(TP) == 2
    assert broker.requests[ApiKey.PRODUCE] == 1 and data(broker) == []


async def test_epoch_that_moves_on_between_two_batches_stops_the_older_owner(
    broker: FakeBroker, cluster: Cluster, owner: TransactionalId, inside: Channel
) -> None:
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    assert await inside.all_told(1) == [0]
    gate = broker.hold_request(ApiKey.PRODUCE)
    inside.put(*[made(of(owner), number) for number in (1, 2, 3)])
    await gate.reached()
    newer = TransactionalId(cluster, owner.name)
    await newer.initialise()
    gate.release()
    assert await inside.all_told(4) == [0, *[KafkaCode.INVALID_PRODUCER_EPOCH] * 3]
    with pytest.raises(Fenced):
        await owner.end(commit=True)
    log = broker.logs[TP]
    assert [(part.first_offset, part.last_offset) for part in log.aborted] == [(0, 1)] and log.last_stable == log.end == 2
    await newer.add_partitions([TP])
    fresh = Channel(cluster, newer.name)
    fresh.put(made(of(newer), 0))
    assert await fresh.all_told(1) == [2]
    await newer.end(commit=True)
    await fresh.close()


async def test_late_copy_of_a_commit_does_nothing_to_the_next_transaction(
    broker: FakeBroker, owner: TransactionalId, inside: Channel
) -> None:
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    await inside.all_told(1)
    gate, lost = broker.hold_request(ApiKey.END_TXN), broker.drop_answer(ApiKey.END_TXN)
    ending = asyncio.create_task(owner.end(commit=True))
    await gate.reached()
    gate.release()
    await ending
    assert lost.hits == 1 and broker.requests[ApiKey.END_TXN] >= 2 and owner.must_renew
    epoch = owner.epoch
    await owner.add_partitions([TP])
    assert owner.epoch == epoch + 1
    inside.put(made(of(owner), 0))
    assert await inside.all_told(2) == [0, 2]
    await broker.send_again(gate.held[0])
    broker.coordinator.write_markers()
    assert broker.logs[TP].last_stable == 2, "still open"
    inside.put(made(of(owner), 1))
    assert await inside.all_told(3) == [0, 2, 3]
    await owner.end(commit=True)
    broker.coordinator.write_markers()
    assert broker.logs[TP].last_stable == 5 and broker.logs[TP].aborted == []


async def test_markers_that_take_their_time_hold_up_the_next_transaction_and_nothing_else(
    broker: FakeBroker, cluster: Cluster, inside: Channel
) -> None:
    steps: list[str] = []
    owner = TransactionalId(cluster, "unit-1", observe=lambda step, details: steps.append(step))
    await owner.initialise()
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    await inside.all_told(1)
    broker.coordinator.hold_markers()
    await owner.end(commit=True)
    assert not owner.is_open and broker.logs[TP].last_stable == 0
    adding = asyncio.create_task(owner.add_partitions([TP]))
    await eventually(lambda: steps.count("add_partitions.again") >= 3)
    broker.coordinator.write_markers()
    await adding
    assert broker.logs[TP].last_stable == 2 and steps[-1] == "add_partitions.ok"


async def test_lost_answer_to_adding_partitions_ends_the_transaction(
    broker: FakeBroker, owner: TransactionalId, inside: Channel
) -> None:
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    await inside.all_told(1)
    epoch = owner.epoch
    broker.drop_answer(ApiKey.ADD_PARTITIONS_TO_TXN)
    with pytest.raises(TransactionAborted):
        await owner.add_partitions([OTHER])
    assert owner.epoch > epoch and not owner.is_open
    assert [part.first_offset for part in broker.logs[TP].aborted] == [0]


async def test_late_copy_of_a_renewal_fences_its_owner_and_commits_nothing(
    broker: FakeBroker, owner: TransactionalId, inside: Channel
) -> None:
    gate, lost = broker.hold_request(ApiKey.INIT_PRODUCER_ID), broker.drop_answer(ApiKey.INIT_PRODUCER_ID)
    renewing = asyncio.create_task(owner.renew())
    await gate.reached()
    gate.release()
    await renewing
    assert lost.hits == 1
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    assert await inside.all_told(1) == [0]
    await broker.send_again(gate.held[0])
    broker.coordinator.write_markers()
    with pytest.raises(Fenced):
        await owner.end(commit=True)
    log = broker.logs[TP]
    assert log.last_stable == log.end and [part.first_offset for part in log.aborted] == [0]
    await owner.initialise()
    await owner.add_partitions([TP])
    inside.put(made(of(owner), 0))
    assert await inside.all_told(2) == [0, 2]
    await owner.end(commit=True)


async def test_broker_that_was_killed_refuses_what_it_has_stored_unless_it_is_the_last(
    broker: FakeBroker, channel: Channel
) -> None:
    """Two batches without an answer, both stored: what comes again is out of order, and only the owner can know what to make of it."""
    channel.put(made(SOMEBODY, 0))
    await channel.all_told(1)
    broker.drop_answer(ApiKey.PRODUCE, then=Fate.HOLD)
    channel.put(made(SOMEBODY, 1), made(SOMEBODY, 2))
    await eventually(lambda: data(broker) == [(0, 0), (1, 1), (2, 2)])
    await broker.kill_and_start()
    assert await channel.all_told(3) == [0, "lost", "lost"]
    channel.told.clear()
    channel.channel.resume(TP)
    assert await channel.all_told(1) == [KafkaCode.OUT_OF_ORDER_SEQUENCE_NUMBER]
    assert channel.channel.stands_still(TP) and channel.channel.unanswered(TP) == 1
    assert data(broker) == [(0, 0), (1, 1), (2, 2)]
