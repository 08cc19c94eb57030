"""Which partitions a unit has, and what keeps them from being copied (kafka-replication.md §1, §5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.engine.unit import ReportedPosition
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.kafka_replication.position_store import Positions
from smartconnect.jobs.kafka_replication.roster import Known, Roster
from smartconnect.jobs.kafka_replication.topic_view import Link, Seen, Trouble
from smartconnect.kafka.types import TopicPartition
from tests.support.leaders import AWAY, FINE, LEADERLESS, OTHER, Leaders
from tests.support.replication_unit import MemoryLedger, spec_of

TROUBLE = Trouble("permission_missing", "grant WRITE")


class Bench:
    """Two partitions of "orders" that have a position of 100, one of which was reported further."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        context = SimpleNamespace(ledger=self.ledger)
        clock = SimpleNamespace(now_ms=lambda: 0)
        inc: Any = SimpleNamespace(context=context, clock=clock, spec=spec_of("unused:1", ["orders"]), counters={})
        positions = Positions()
        links = {}
        for number in (0, 1):
            tp = TopicPartition("orders", number)
            positions[tp] = StoredPosition(1, None, 100, 0, None, 100, 0, start=40, gaps=1)
            links[tp] = Link(tp, tp, None, None)
        reported = {("orders", 0): ReportedPosition(120, gaps=2)}
        self.fine = Seen(links=links)
        self.troubled = replace(self.fine, links={}, troubles={"orders": TROUBLE})
        self.roster = Roster(inc, Known(positions, {}, reported))

    @property
    def codes(self) -> list[str | None]:
        partitions = self.roster.partitions.values()
        return [None if partition.blocked is None else partition.blocked.code for partition in partitions]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_position_that_is_gone_blocks_its_partition(bench: Bench) -> None:
    changes = await bench.roster.take(bench.fine)
    assert len(changes.added) == 2 and not changes.gone and not changes.remade
    assert bench.codes == ["position_gone", None]


async def test_what_earlier_owners_stored_and_reported_is_remembered(bench: Bench) -> None:
    await bench.roster.take(bench.fine)
    first, second = bench.roster.partitions.values()
    assert (first.start_offset, first.gaps, first.gaps_passed, first.expected) == (40, 2, 1, 120)
    assert (second.start_offset, second.gaps, second.gaps_passed, second.expected) == (40, 1, 1, 100)


async def test_a_trouble_of_the_topic_that_comes_and_goes_does_not_free_what_is_blocked_for_itself(bench: Bench) -> None:
    await bench.roster.take(bench.fine)
    changes = await bench.roster.take(bench.troubled)
    assert not changes.gone
    assert bench.codes == ["position_gone", "permission_missing"]
    await bench.roster.take(bench.fine)
    assert bench.codes == ["position_gone", None]
    assert bench.ledger.codes == ["position_gone"]


async def test_a_topic_that_could_never_be_copied_has_its_reason_too(bench: Bench) -> None:
    for _ in range(3):
        await bench.roster.take(bench.troubled)
    assert bench.codes == []
    assert [(reason.code, reason.message) for reason in bench.roster.troubles.values()] == [TROUBLE]
    await bench.roster.take(bench.fine)
    assert bench.roster.troubles == {}
    assert bench.codes == ["position_gone", None]


async def test_a_topic_in_neither_list_is_gone_and_comes_back(bench: Bench) -> None:
    await bench.roster.take(bench.fine)
    nothing = Seen()
    changes = await bench.roster.take(nothing)
    assert [partition.tp.partition for partition in changes.gone] == [0, 1]
    for partition in changes.gone:
        partition.selected = False
    assert (await bench.roster.take(nothing)).gone == []
    assert len((await bench.roster.take(bench.fine)).added) == 2


@pytest.mark.parametrize("source", [Leaders(LEADERLESS), Leaders(AWAY, ClusterUnreachable("refused"))])
async def test_a_new_partition_whose_leader_is_away_does_not_hold_up_the_others(source: Leaders) -> None:
    """Whoever takes up a look takes in no record meanwhile."""
    inc: Any = SimpleNamespace(source=source, spec=spec_of("unused:1", ["orders"]), context=SimpleNamespace(ledger=MemoryLedger()))
    roster = Roster(inc, Known(Positions(), {}, {}))
    seen = Seen(links={tp: Link(tp, tp, None, None) for tp in (FINE, OTHER)})
    async with asyncio.timeout(3):
        changes = await roster.take(seen)
    assert [(partition.tp, partition.read) for partition in changes.added] == [(FINE, 7)]
    source.other = 1
    assert [partition.tp for partition in (await roster.take(seen)).added] == [OTHER]
