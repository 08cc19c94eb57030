"""The partitions of a unit: which there are, where each starts, which topics came, went or were made again (kafka-replication.md §1, §5).

A partition starts at its position, else at the start that planning stored, else at the earliest record: topics that appear later lose
nothing. One whose position the registry knows better than the target is *blocked*: going on would copy twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from smartconnect.domain.progress import Level
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import ReportedPosition
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.kafka_replication.position_store import Positions
from smartconnect.jobs.kafka_replication.topic_view import Link, Seen
from smartconnect.kafka.offsets import EARLIEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition


class Known(NamedTuple):
    """What was known of the unit's partitions when the incarnation began."""

    positions: Positions
    starts: Mapping[tuple[str, int], int]
    reported: Mapping[tuple[str, int], ReportedPosition]


class Changes(NamedTuple):
    """What a look brought: partitions to begin with, (partition, new link) of topics made again on either side, partitions that are
    gone from the source."""

    added: list[Partition]
    remade: list[tuple[Partition, Link]]
    gone: list[Partition]


class Roster:
    """All partitions of one incarnation, by source. `troubles`: topics that cannot be copied now; those that could not be from the
    beginning have no partitions here."""

    def __init__(self, inc: Incarnation, known: Known) -> None:
        self._inc, self._known = inc, known
        self.partitions: dict[TopicPartition, Partition] = {}
        self.troubles: dict[str, Reason] = {}
        self._looked = False

    async def take(self, seen: Seen) -> Changes:
        """Take up one look."""
        changes = Changes([], [], [])
        new: list[Link] = []
        for tp, link in seen.links.items():
            partition = self.partitions.get(tp)
            if partition is None:
                new.append(link)
            elif partition.is_former(link):
                continue
            elif partition.link != link and partition.jump is None:
                changes.remade.append((partition, link))
            elif not partition.selected:
                partition.selected = True
                partition.gaps_passed = partition.gaps
                changes.added.append(partition)
        begun = await self._begin(new)
        changes.added.extend(begun)
        changes.remade.extend(
            (partition, seen.links[partition.tp]) for partition in begun if partition.link != seen.links[partition.tp]
        )
        visible = {*seen.links, *seen.waiting}
        for tp, partition in self.partitions.items():
            if partition.selected and tp not in visible and tp.topic not in seen.troubles:
                changes.gone.append(partition)
        self._follow_troubles(seen)
        self._looked = True
        return changes

    def block(self, partition: Partition, code: str, message: str) -> None:
        """Stop one partition until somebody acts or the cause is gone; the others go on. Told once, however often it is tried in vain."""
        if partition.told != code:
            self._inc.context.ledger.event(Level.ERROR, code, message)
            partition.told = code
        partition.blocked = Reason(code, message, since=self._inc.clock.now_ms())

    def reasons(self) -> set[str]:
        """What is told of partitions now, in words."""
        return {partition.blocked.message for partition in self.partitions.values() if partition.blocked is not None}

    async def earliest(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Log starts; partitions without a leader or rights, or whose leader is away, are left out: a later look finds them again."""
        found = await list_offsets(self._inc.source, dict.fromkeys(tps, EARLIEST), READ_COMMITTED, patient=False)
        return {tp: listed.offset for tp, listed in found.items() if listed.error is None and listed.offset >= 0}

    def _follow_troubles(self, seen: Seen) -> None:
        """Topics that cannot be copied: their partitions stand still, and go on when the cause is gone. Unit 0 has told of them."""
        before, self.troubles = self.troubles, {}
        for topic, trouble in seen.troubles.items():
            known = before.get(topic)
            if known is None or known.code != trouble.code:
                known = Reason(trouble.code, trouble.message, since=self._inc.clock.now_ms())
            self.troubles[topic] = known
        for partition in self.partitions.values():
            topic = partition.tp.topic
            if partition.blocked is None or partition.blocked is before.get(topic):  # what blocks it for itself stays
                partition.blocked = self.troubles.get(topic)

    async def _begin(self, links: list[Link]) -> list[Partition]:
        known = self._known
        unknown = [link.source for link in links if link.source not in known.positions and link.source not in known.starts]
        earliest = await self.earliest(unknown) if unknown else {}
        begun = []
        for link in links:
            stored = known.positions.get(link.source)
            partition = self._stored(link, stored) if stored is not None else self._fresh(link, earliest)
            if partition is not None:
                self._recall(partition)
                self.partitions[link.source] = partition
                begun.append(partition)
        return begun

    def _stored(self, link: Link, stored: StoredPosition) -> Partition:
        """From the position; the ids in it tell whether it still speaks of these topics."""
        of_then = link._replace(
            source_topic_id=_known_id(stored.source_topic_id, link.source_topic_id),
            target_topic_id=_known_id(stored.target_topic_id, link.target_topic_id),
        )
        offset = stored.next_source
        reported = self._known.reported.get(link.source)
        partition = Partition(
            of_then,
            Lane(link.target),
            read=offset,
            acked=offset,
            position=offset,
            stored=stored,
            leader_epoch=stored.source_leader_epoch,
            acked_epoch=stored.source_leader_epoch,
            target_next=stored.next_target,
            start_offset=stored.start,
            initial_end=reported.initial_end if reported is not None else None,
            gaps_passed=stored.gaps,
            gaps_committed=stored.gaps,
        )
        if self._inc.spec.sync_offsets:
            partition.map = self._map_of(partition, stored)
        return partition

    def _fresh(self, link: Link, earliest: Mapping[TopicPartition, int]) -> Partition | None:
        offset = self._known.starts.get(link.source, earliest.get(link.source))
        if offset is None:
            return None
        partition = Partition(link, Lane(link.target), read=offset, acked=offset, start_offset=offset)
        partition.initial_end = offset if self._looked else None
        if self._inc.spec.sync_offsets:
            partition.map = OffsetMap(offset)
        return partition

    def _map_of(self, partition: Partition, stored: StoredPosition) -> OffsetMap:
        positions = self._known.positions
        damage = positions.damaged_maps.get(partition.tp)
        if damage is not None:
            why = f"{damage}; offsets of groups that lie before it lead to the target's beginning"
            self._inc.context.ledger.event(Level.WARNING, "offset_map_unreadable", why)
        return OffsetMap.stored(stored, positions.chunks.get(partition.tp, ()))

    def _recall(self, partition: Partition) -> None:
        """What was reported of it in this run. Where that is a larger position than the target holds, its positions topic was deleted or
        cut."""
        last = self._known.reported.get(partition.tp)
        partition.gaps = partition.gaps_passed if last is None else max(partition.gaps_passed, last.gaps)
        partition.gap = "" if last is None else last.gap
        expected = last.offset if last is not None and _same(last.topic_id, partition.link.source_topic_id) else None
        if expected is not None and (partition.position is None or partition.position < expected):
            partition.missing = expected
        unreadable = self._known.positions.unreadable.get(partition.tp)
        if unreadable is not None:
            self.block(partition, "position_unreadable", f"{unreadable}; set it with smart-connect positions, or restart")
        elif partition.missing is not None:
            held = "none" if partition.position is None else str(partition.position)
            self.block(
                partition,
                "position_gone",
                f"position of {partition.tp} on the target is {held}, last known {expected}: going on would copy twice; "
                "set it with smart-connect positions, or restart",
            )


def _known_id(then: UUID | None, now: UUID | None) -> UUID | None:
    """An id that was not known at the time is not another one."""
    return now if then is None else then


def _same(reported: str, now: UUID | None) -> bool:
    return not reported or now is None or reported == str(now)
