"""What a look tells of topics that cannot be copied."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from smartconnect.jobs.kafka_replication.topic_keeper import TopicKeeper
from smartconnect.jobs.kafka_replication.topic_view import Seen, TopicView, Trouble
from tests.support.replication_unit import MemoryLedger, spec_of

TROUBLE = Trouble("permission_missing", "rights are missing on topic orders: grant READ")


class View:
    """Every look shows the trouble."""

    async def look(self) -> Seen:
        return Seen(troubles={"orders": TROUBLE})


async def told(already: set[str]) -> list[str]:
    """The events of two looks of unit 0, whose partitions stand still for these reasons."""
    ledger = MemoryLedger()
    inc: Any = SimpleNamespace(
        context=SimpleNamespace(unit=SimpleNamespace(index=0), ledger=ledger),
        spec=spec_of("unused:1", ["orders"]),
        clock=SimpleNamespace(monotonic=lambda: 0.0),
        source=None,
        target=None,
    )
    keeper = TopicKeeper(inc, cast(TopicView, View()), "mark", lambda: already)
    for _ in range(2):
        await keeper.first_look()
    return ledger.codes


async def test_a_topic_that_cannot_be_copied_is_told_once() -> None:
    assert await told(set()) == ["permission_missing"]


async def test_what_a_fetch_was_refused_for_is_not_told_again_by_a_look() -> None:
    assert await told({TROUBLE.message}) == []
