"""What a unit knows of the source's ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from smartconnect.domain.clock import Clock
from smartconnect.jobs.obs_dump.meter import Meter
from smartconnect.jobs.obs_dump.partition import Partition
from tests.support.dump_spec import a_spec
from tests.support.leaders import FINE, LEADERLESS, OTHER, Leaders
from tests.support.replication_unit import MemoryLedger


async def test_an_end_that_cannot_be_told_now_is_asked_for_again() -> None:
    cluster = Leaders(LEADERLESS)
    context: Any = SimpleNamespace(ledger=MemoryLedger())
    meter = Meter(context, a_spec(), Clock())
    inc: Any = SimpleNamespace(cluster=cluster)
    nothing: Any = SimpleNamespace(partitions={})
    await meter.begin(nothing, nothing, inc)
    partitions = [Partition(tp, read=3, next_start=3, start_offset=3) for tp in (FINE, OTHER)]
    meter.taken_up(partitions)
    await meter.see_ends()
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (None, None)]
    for partition in partitions:
        partition.position = 3  # its start is committed meanwhile
    cluster.other = 1
    await meter.see_ends()
    assert [(partition.ends.end, partition.initial_end) for partition in partitions] == [(7, 7), (7, 7)]
