"""What a unit knows of the source's ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from smartconnect.domain.clock import Clock
from smartconnect.jobs.kafka_replication.meter import Meter
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.topic_view import Link
from tests.support.leaders import FINE, LEADERLESS, OTHER, Leaders
from tests.support.replication_unit import MemoryLedger


async def test_an_end_that_cannot_be_told_now_is_asked_for_with_the_next_look() -> None:
    source = Leaders(LEADERLESS)
    context: Any = SimpleNamespace(ledger=MemoryLedger())
    inc: Any = SimpleNamespace(source=source)
    meter = Meter(context, Clock())
    roster: Any = SimpleNamespace(partitions={})
    intake: Any = None
    await meter.begin(roster, intake, inc, lambda partition: 0)
    partitions = [Partition(Link(tp, tp, None, None), Lane(tp), read=3, acked=3) for tp in (FINE, OTHER)]
    await meter.see_ends(partitions)
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (None, None)]
    source.other = 1
    await meter.see_ends([])
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (7, 7)]
