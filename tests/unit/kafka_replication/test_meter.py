"""What a unit knows of the source's ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from smartconnect.domain.clock import Clock
from smartconnect.domain.task import Kind, Reason
from smartconnect.jobs.kafka_replication.meter import Meter
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.topic_view import Link
from tests.support.leaders import FINE, LEADERLESS, OTHER, Leaders
from tests.support.replication_unit import MemoryLedger


class Hands:
    """Of a clock that is moved by hand; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(lambda: self.now, lambda: self.now)


async def meter_of(source: Leaders, *partitions: Partition, clock: Clock | None = None) -> Meter:
    context: Any = SimpleNamespace(
        ledger=MemoryLedger(), task=SimpleNamespace(kind=Kind.KAFKA_REPLICATION), unit=SimpleNamespace(prefix="pull")
    )
    guard = SimpleNamespace(trouble=lambda: None)
    budget = SimpleNamespace(used=0, total=1)
    inc: Any = SimpleNamespace(source=source, guard=guard, counters={}, resources=SimpleNamespace(budget=budget))
    meter = Meter(context, clock or Clock())
    roster: Any = SimpleNamespace(partitions={partition.tp: partition for partition in partitions}, troubles={})
    intake: Any = SimpleNamespace(records=0, nbytes=0)
    await meter.begin(roster, intake, inc, lambda partition: 0)
    return meter


async def test_while_all_rests_partitions_are_not_looked_at_and_whatever_happens_is_told_at_once() -> None:
    hands = Hands()
    clock = hands.clock
    partition = Partition(Link(FINE, FINE, None, None), Lane(FINE), read=3, acked=3, position=3)
    meter = await meter_of(Leaders(1), partition, clock=clock)
    partition.ends.saw(7, 3, clock.now_ms())
    meter.started()
    assert meter.progress().lag_records == 4
    partition.acked = partition.position = 7
    hands.now += 1
    meter.tick()
    assert meter.rests
    assert meter.progress().lag_records == 0, "what was known before it rested does not count"

    hands.now += 1
    partition.ends.saw(9, 7, clock.now_ms())
    assert meter.progress().lag_records == 0, "nobody has told that something happened"
    meter.stir()
    assert meter.progress().lag_records == 2


async def test_a_blocked_partition_is_looked_at_also_while_all_rests() -> None:
    hands = Hands()
    clock = hands.clock
    partition = Partition(Link(FINE, FINE, None, None), Lane(FINE), read=3, acked=3, position=3)
    meter = await meter_of(Leaders(1), partition, clock=clock)
    partition.ends.saw(3, 3, clock.now_ms())
    partition.blocked = Reason("message_too_large", "too large", since=0)
    meter.started()
    assert meter.rests
    assert meter.progress().reason is not None
    partition.blocked = None
    assert meter.progress().reason is None


async def test_an_end_that_cannot_be_told_now_is_asked_for_with_the_next_look() -> None:
    source = Leaders(LEADERLESS)
    meter = await meter_of(source)
    partitions = [Partition(Link(tp, tp, None, None), Lane(tp), read=3, acked=3) for tp in (FINE, OTHER)]
    await meter.see_ends(partitions)
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (None, None)]
    source.other = 1
    await meter.see_ends([])
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (7, 7)]
