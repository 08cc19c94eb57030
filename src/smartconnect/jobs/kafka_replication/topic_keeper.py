"""Looks at both sides every refresh interval and, in unit 0 of a direction, makes the target's topics what the source's need
(kafka-replication.md §2, §9). What was seen goes to the runner, who takes it up in its own time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.target_topics import TargetTopics, TopicWishes
from smartconnect.jobs.kafka_replication.topic_view import Seen, TopicView
from smartconnect.kafka.types import TopicPartition

_SOON_S: Final = 0.1
_SOON_TRIES: Final = 20


class TopicKeeper:
    """One incarnation's. `told`: the reasons, in words, for which partitions stand still: a look tells none of them again."""

    def __init__(self, inc: Incarnation, view: TopicView, mark: str, told: Callable[[], Collection[str]]) -> None:
        self._inc, self._view, self._told = inc, view, told
        self._keeps = inc.context.unit.index == 0
        wishes = TopicWishes(mark, inc.spec.replication_factor, inc.spec.options.sync_topic_configs)
        self._topics = TargetTopics(inc.source, inc.target, wishes, inc.context.ledger.event)
        self._synced_at = inc.clock.monotonic()

    async def first_look(self) -> Seen:
        return await self._look()

    async def run(self, tell: Callable[[Seen], None]) -> None:
        """For ever. When partitions begin to wait for their targets the next look comes soon, for a while."""
        options, soon, waiting = self._inc.spec.options, 0, frozenset[TopicPartition]()
        while True:
            waits = soon < _SOON_TRIES
            await asyncio.sleep(_SOON_S * (soon + 1) if waits else options.refresh_interval_s)
            seen = await self._look()
            before, waiting = waiting, frozenset(seen.waiting)
            soon = 0 if waiting - before else soon + 1 if waiting and waits else _SOON_TRIES
            tell(seen)
            await self._sync_configs(seen)

    async def _look(self) -> Seen:
        """One look; what the target lacks is made, and what cannot be made is a trouble of its topic."""
        seen = await self._view.look()
        if self._keeps and seen.troubles:
            told = self._told()
            self._topics.tell({topic: trouble for topic, trouble in seen.troubles.items() if trouble.message not in told})
        if not self._keeps or not any(pair.missing for pair in seen.pairs.values()):
            return seen
        troubles = await self._topics.create_and_grow(seen)
        self._inc.counters["topics_created"] = self._topics.created
        seen = await self._view.look()
        return replace(seen, troubles={**seen.troubles, **troubles}) if troubles else seen

    async def _sync_configs(self, seen: Seen) -> None:
        now = self._inc.clock.monotonic()
        if self._keeps and now - self._synced_at >= self._inc.spec.options.config_sync_interval_s:
            self._synced_at = now
            await self._topics.sync_configs(seen)
