"""The real outbox against the fake broker, in both deliveries: what goes out again by itself, what is given up, what ends everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import ClusterUnreachable, Fenced, Retryable
from smartconnect.jobs.crew import Crew
from smartconnect.jobs.kafka_replication import troubles
from smartconnect.jobs.kafka_replication.guard import Guard, IdempotentGuard, TransactionGuard
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.outbox import Outbox, OutboxEvents, Refusal
from smartconnect.jobs.kafka_replication.partition import Flight, Lane, Partition
from smartconnect.jobs.kafka_replication.steps import IncarnationSteps, NullStepLog
from smartconnect.jobs.kafka_replication.troubles import LaneStuck
from smartconnect.kafka.batch import parse_header
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.batch import CONTROL
from tests.support.broker_rules.asking import Owner
from tests.support.broker_rules.making import made, torn
from tests.support.fake_broker import FakeBroker
from tests.support.fake_broker.log import PartitionLog
from tests.support.kafka_api import ApiKey
from tests.support.waiting import eventually

TP, OTHER, POSITIONS = TopicPartition("orders", 0), TopicPartition("orders", 1), TopicPartition("positions", 0)
NAME = "unit-1"


@dataclass
class Sending:
    """An outbox with a guard that has taken over, and what the outbox told."""

    outbox: Outbox
    guard: Guard
    crew: Crew
    acked: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[TopicPartition, list[int], KafkaCode | None]] = field(default_factory=list)

    async def put(self, lane: Lane, *counts: int, broken: int = -1) -> None:
        """Batches of so many records, released; the one numbered `broken` has a wrong checksum."""
        await self.guard.admit([lane.tp])
        self.outbox.admit([lane])
        self.outbox.open_gate()
        flights = []
        for number, (count, sequence) in enumerate(zip(counts, lane.take_sequences(counts), strict=True)):
            batch = made(self._owner(), sequence, count)
            data = torn(batch) if number == broken else batch
            flights.append(Flight(data, lane, sequence, count, len(data), partition=cast(Partition, SimpleNamespace())))
        self.outbox.put(lane, flights)
        await self.outbox.release()

    def _owner(self) -> Owner:
        stamp = self.guard.stamp
        return Owner(self.guard.transactional_id, stamp.producer_id, stamp.producer_epoch)

    def note_acked(self, acked: Sequence[tuple[Flight, int]]) -> None:
        self.acked += [(flight.sequence, offset) for flight, offset in acked]

    def note_refused(self, lane: Lane, refusal: Refusal) -> None:
        self.refused.append((lane.tp, [flight.sequence for flight in refusal.flights], refusal.code))


@asynccontextmanager
async def sending(cluster: Cluster, guard: Guard) -> AsyncIterator[Sending]:
    await guard.take_over()
    crew = Crew()
    inc: Any = SimpleNamespace(
        target=cluster,
        crew=crew,
        clock=Clock(),
        guard=guard,
        position_lane=Lane(POSITIONS),
        context=SimpleNamespace(task=SimpleNamespace(id="task")),
        spec=SimpleNamespace(options=SimpleNamespace(produce_connections=2)),
    )
    told: list[Sending] = []
    events = OutboxEvents(
        acked=lambda acked: told[0].note_acked(acked),
        refused=lambda lane, refusal: told[0].note_refused(lane, refusal),
    )
    told.append(Sending(Outbox(cast(Incarnation, inc), events), guard, crew))
    try:
        yield told[0]
    finally:
        await crew.close()


def exactly_once(cluster: Cluster) -> Guard:
    return TransactionGuard(cluster, NAME, 30_000, IncarnationSteps(NullStepLog(), "task", "unit", "incarnation"))


def data(broker: FakeBroker, tp: TopicPartition = TP) -> list[tuple[int, int]]:
    """(base offset, base sequence) of the batches of records in a partition."""
    headers = [parse_header(batch) for batch in broker.logs[tp].batches]
    return [(header.base_offset, header.base_sequence) for header in headers if not header.attributes & CONTROL]


async def test_lost_answers_go_out_again_by_themselves_and_are_stored_once(broker: FakeBroker, cluster: Cluster) -> None:
    lane = Lane(TP)
    async with sending(cluster, IdempotentGuard(cluster)) as sent:
        await sent.put(lane, 2)
        await sent.outbox.settled()
        lost = broker.drop_answer(ApiKey.PRODUCE, count=3)
        await sent.put(lane, 1, 3, 1, 2, 1)
        await sent.outbox.settled()
        assert lost.hits == 3 and sent.outbox.quiet
        assert sent.acked == [(0, 0), (2, 2), (3, 3), (6, 6), (7, 7), (9, 9)] == [(seq, at) for at, seq in data(broker)]
        assert sent.refused == [] and not sent.crew.failed.is_set()


async def test_lost_answer_inside_a_transaction_ends_the_incarnation_and_nothing_of_it_counts(
    broker: FakeBroker, cluster: Cluster
) -> None:
    async with sending(cluster, exactly_once(cluster)) as sent:
        await sent.put(Lane(TP), 2, 2)
        await sent.outbox.settled()
        broker.drop_answer(ApiKey.PRODUCE)
        await sent.put(Lane(OTHER), 1)
        await eventually(sent.crew.failed.is_set)
        with pytest.raises(Retryable, match="lost"):
            sent.crew.check()
    async with sending(cluster, exactly_once(cluster)) as again:
        assert [len(broker.logs[tp].aborted) for tp in (TP, OTHER)] == [1, 1]
        lane = Lane(TP)
        await again.put(lane, 2)
        await again.outbox.settled()
        await again.guard.finish()
        assert again.acked == [(0, 5)] and len(broker.logs[TP].aborted) == 1


both_deliveries = pytest.mark.parametrize("delivery", [IdempotentGuard, exactly_once], ids=["at_least_once", "exactly_once"])


@both_deliveries
async def test_refused_batch_takes_those_behind_it_back_and_the_lane_goes_on_from_there(
    broker: FakeBroker, cluster: Cluster, delivery: Any
) -> None:
    lane, other = Lane(TP), Lane(OTHER)
    async with sending(cluster, delivery(cluster)) as sent:
        await sent.put(lane, 2)
        await sent.put(other, 1)
        await sent.outbox.settled()
        await sent.put(lane, 1, 3, 1, 1, broken=1)
        await sent.put(other, 1)
        await sent.outbox.settled()
        assert sent.refused == [(TP, [3, 6, 7], KafkaCode.CORRUPT_MESSAGE)] and lane.sequence == 3
        await sent.put(lane, 3, 1, 1)
        await sent.outbox.settled()
        await sent.guard.finish()
        assert not sent.crew.failed.is_set()
        assert data(broker) == [(at, at) for at in (0, 2, 3, 6, 7)] and data(broker, OTHER) == [(0, 0), (1, 1)]


@both_deliveries
async def test_leader_that_is_none_yet_is_asked_again_and_no_batch_overtakes(
    broker: FakeBroker, cluster: Cluster, delivery: Any
) -> None:
    broker.logs[TP].leads_later = 2
    async with sending(cluster, delivery(cluster)) as sent:
        await sent.put(Lane(TP), 1, 1, 1)
        await sent.outbox.settled()
        await sent.guard.finish()
        assert sent.acked == [(0, 0), (1, 1), (2, 2)] == data(broker) and broker.logs[TP].leads_later == 0


async def test_stuck_lane_has_its_transaction_aborted_and_whoever_puts_again_begins_at_zero(
    broker: FakeBroker, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader says that it is none, again and again: what it holds of the lane nobody can know."""
    monkeypatch.setattr(troubles, "MENDS_FOR_S", 0.2)
    monkeypatch.setattr(troubles, "_STUCK_WITH_IT_S", 0.1)
    lane, other = Lane(TP), Lane(OTHER)
    async with sending(cluster, exactly_once(cluster)) as sent:
        await sent.put(lane, 2)
        await sent.outbox.settled()
        broker.logs[TP].leads_later = 1000
        await sent.put(other, 1, 1)
        await sent.put(lane, 1, 3)
        with pytest.raises(LaneStuck, match="NOT_LEADER_OR_FOLLOWER"):
            await sent.outbox.settled()
        stuck = await sent.outbox.stop()
        assert [each.refused.error for each in stuck.values() if each and each.refused] == [KafkaCode.NOT_LEADER_OR_FOLLOWER]
        broker.logs[TP].leads_later = 0
        await sent.guard.abort()
        sent.outbox.begin_again()
        for each in (lane, other):
            each.begin_anew()
        assert list(stuck) == [lane] and sent.outbox.quiet and not sent.crew.failed.is_set()
        assert data(broker) == [(0, 0)] and data(broker, OTHER) == [(0, 0), (1, 1)]

        await sent.put(lane, 6)
        await sent.put(other, 2)
        await sent.outbox.settled()
        await sent.guard.finish()
        assert sent.outbox.quiet and sent.refused == []
        assert data(broker)[1:] == [(3, 0)] and data(broker, OTHER)[2:] == [(3, 0)]
        assert [len(broker.logs[tp].aborted) for tp in (TP, OTHER)] == [1, 1]


async def made_again_under_way(broker: FakeBroker, sent: Sending, lane: Lane) -> None:
    """Two records are stored; of three batches on their way at once the first finds no leader, the others a partition that was made again
    and knows nothing of their producer."""
    await sent.put(lane, 2)
    await sent.outbox.settled()
    broker.logs[TP] = PartitionLog(broker.logs[TP].settings, leads_later=1)
    await sent.put(lane, 1, 3, 1)


async def test_batches_stored_without_the_one_before_them_cost_the_transaction(broker: FakeBroker, cluster: Cluster) -> None:
    lane, other = Lane(TP), Lane(OTHER)
    async with sending(cluster, exactly_once(cluster)) as sent:
        await sent.put(other, 1)
        await made_again_under_way(broker, sent, lane)
        with pytest.raises(LaneStuck, match="without the one before it"):
            await sent.crew.wait_for(sent.outbox.settled(), timeout=20)
        assert await sent.outbox.stop() == {}, "nobody is left behind"
        await sent.guard.abort()
        sent.outbox.begin_again()
        for each in (lane, other):
            each.begin_anew()
        assert data(broker) == [(0, 3), (3, 6)] and sent.acked == [(0, 0), (0, 0)] and sent.refused == []

        await sent.put(lane, 7)
        await sent.put(other, 1)
        await sent.outbox.settled()
        await sent.guard.finish()
        assert sent.outbox.quiet and not sent.crew.failed.is_set()
        assert data(broker)[2:] == [(5, 0)] and [len(broker.logs[tp].aborted) for tp in (TP, OTHER)] == [1, 1]


async def test_outside_of_transactions_a_lane_goes_on_behind_what_was_stored_out_of_its_turn(
    broker: FakeBroker, cluster: Cluster
) -> None:
    """All that did not land is sent again: some twice, nothing lost."""
    lane, other = Lane(TP), Lane(OTHER)
    async with sending(cluster, IdempotentGuard(cluster)) as sent:
        await made_again_under_way(broker, sent, lane)
        await sent.put(other, 1)
        await sent.crew.wait_for(sent.outbox.settled(), timeout=20)
        assert sent.refused == [(TP, [2, 3, 6], KafkaCode.NOT_LEADER_OR_FOLLOWER)] and sorted(sent.acked) == [(0, 0), (0, 0)]
        await sent.put(lane, 1, 3, 1)
        await sent.outbox.settled()
        assert sent.outbox.quiet and not sent.crew.failed.is_set()
        assert data(broker) == [(0, 3), (3, 6), (4, 7), (5, 8), (8, 11)] and data(broker, OTHER) == [(0, 0)]


@both_deliveries
async def test_leader_that_cannot_be_reached_costs_its_own_lanes(
    broker: FakeBroker, cluster: Cluster, delivery: Callable[[Cluster], Guard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so nothing is unknown: the transaction ends without them."""
    monkeypatch.setattr(troubles, "MENDS_FOR_S", 0.1)

    async def refused(node_id: int) -> Connection:
        raise ClusterUnreachable("connection refused")

    lane = Lane(TP)
    async with sending(cluster, delivery(cluster)) as sent:
        with monkeypatch.context() as away:
            away.setattr(cluster, "dial", refused)
            await sent.put(lane, 2, 3)
            await sent.crew.wait_for(sent.outbox.settled())
        assert sent.refused == [(TP, [0, 2], None)] and not sent.crew.failed.is_set() and data(broker) == []
        await sent.put(lane, 2, 3)
        await sent.outbox.settled()
        await sent.guard.finish()
        assert data(broker) == [(0, 0), (2, 2)]


async def test_newer_owner_ends_the_incarnation_as_fenced(broker: FakeBroker, cluster: Cluster) -> None:
    lane = Lane(TP)
    async with sending(cluster, exactly_once(cluster)) as sent:
        await sent.put(lane, 2)
        await sent.outbox.settled()
        gate = broker.hold_request(ApiKey.PRODUCE)
        await sent.put(lane, 1, 1)
        await gate.reached()
        await exactly_once(cluster).take_over()
        gate.release()
        await eventually(sent.crew.failed.is_set)
        with pytest.raises(Fenced):
            sent.crew.check()
        assert data(broker) == [(0, 0)] and len(broker.logs[TP].aborted) == 1
