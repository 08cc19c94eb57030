"""Topics that the task selects and Kafka does not let us see, because the right is missing. They are not gone, nor are their positions:
Kafka only leaves both out of its answers. Nothing is told lost of them, begun or swept, until they are seen again.

A topic of which partitions have been taken up stays with them; they rest (`rests.py`) until Kafka lets them be read. Of one that was hidden
from the start only what was last reported is known; that is shown, and kept for the next owner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from smartconnect.domain.errors import PermissionMissing
from smartconnect.domain.progress import Level
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import ReportedPosition
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.topic_watch import selected_by
from smartconnect.kafka.codes import UNAUTHORIZED
from smartconnect.kafka.types import TopicPartition


class HiddenTopics:
    """One roster's. `names`: hidden at the last look. `reasons`: why those stand still of which nothing was taken up, `rows`: what was
    reported of them."""

    def __init__(self, inc: Incarnation, reported: Mapping[tuple[str, int], ReportedPosition]) -> None:
        self._inc, self._reported = inc, reported
        self.names: frozenset[str] = inc.hidden
        self.reasons: dict[str, Reason] = {}
        self.rows: list[Partition] = []

    async def look(self, selected: Mapping[TopicPartition, object], partitions: Mapping[TopicPartition, Partition]) -> set[str]:
        """Beside each look at the topics; those of which nothing was taken up and that are hidden no more."""
        known = {tp for tp, partition in partitions.items() if partition.selected and not partition.gone}
        missing = {tp.topic for tp in (*known, *self._remembered(partitions)) if tp not in selected}
        unread = self.names - {tp.topic for tp in known}
        self.names = self._inc.hidden | await self._without_right(missing - self._inc.hidden)
        self._tell(self.names - {tp.topic for tp in known})
        self.rows = [self._row(tp) for tp in self._remembered(partitions) if tp.topic in self.reasons]
        return set(unread - self.names)

    def _remembered(self, partitions: Mapping[TopicPartition, Partition]) -> list[TopicPartition]:
        """Partitions that an owner reported and that are not known now."""
        selects = selected_by(self._inc.spec).selects
        reported = (TopicPartition(topic, number) for topic, number in self._reported)
        return [tp for tp in reported if tp not in partitions and selects(tp.topic) and self._inc.is_ours(tp)]

    async def _without_right(self, topics: Iterable[str]) -> set[str]:
        """Asked for by name: a look at all topics leaves hidden ones out, as if they were not there."""
        asked = set(topics)
        if not asked or self._inc.spec.topics:
            return set()
        found = await self._inc.cluster.metadata(asked)
        return {name for name, topic in found.topics.items() if topic.error in UNAUTHORIZED}

    def _tell(self, names: Iterable[str]) -> None:
        before, self.reasons = self.reasons, {}
        for name in sorted(names):
            reason = before.get(name)
            if reason is None:
                message = f"Kafka refuses to describe topic {name}: grant READ and DESCRIBE on the topic"
                reason = Reason(PermissionMissing.code, message, since=self._inc.clock.now_ms())
                self._inc.context.ledger.event(Level.ERROR, reason.code, message)
            self.reasons[name] = reason

    def _row(self, tp: TopicPartition) -> Partition:
        last = self._reported[tp]
        return Partition(
            tp,
            read=0,
            next_start=0,
            selected=False,
            topic_id=UUID(last.topic_id) if last.topic_id else None,
            initial_end=last.initial_end,
            expected=last.offset,
            gaps=last.gaps,
            stopped=self.reasons[tp.topic],
        )
