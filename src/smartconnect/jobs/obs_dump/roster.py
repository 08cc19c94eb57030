"""The partitions of a unit: which there are, where each starts, which topics came, went or were made again (obs-dump.md §3, §7, §4 F3, F5).

A partition starts at its committed position, else at the start that planning stored for it, else at the earliest record: topics that appear
later lose nothing. A partition whose position the registry knows and the group has not, or that somebody else has set although nobody
paused the task, is *blocked*: going on would dump twice, or leave records out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.policies import OnGap
from smartconnect.domain.progress import Level
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import ReportedPosition
from smartconnect.jobs.obs_dump.entries import NOTHING
from smartconnect.jobs.obs_dump.hidden import HiddenTopics
from smartconnect.jobs.obs_dump.incarnation import Incarnation, ReadPosition
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry
from smartconnect.jobs.obs_dump.topic_watch import selected_by
from smartconnect.kafka.codes import RETRIABLE
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.offsets import EARLIEST, LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition

TOPIC_DELETED: Final = "topic_deleted"


class Known(NamedTuple):
    """What was known of the unit's partitions when the incarnation began."""

    positions: Mapping[TopicPartition, ReadPosition]
    starts: Mapping[tuple[str, int], int]
    reported: Mapping[tuple[str, int], ReportedPosition]


class Changes(NamedTuple):
    """What a look at the topics brought: partitions to begin with, those of topics made again, and those that are gone."""

    added: list[Partition]
    recreated: list[Partition]
    gone: list[Partition]


class Roster:
    """All partitions of one incarnation by name. Before it has `looked`, some are missing and none is compared with what was reported of
    it: nobody is told of them then, or the next owner would take our word for what somebody else did.

    `before_reading`: what comes before positions are read of topics that were `hidden` when the others' were."""

    def __init__(self, inc: Incarnation, known: Known, before_reading: Callable[[], Awaitable[None]]) -> None:
        self._inc, self._known, self._before_reading = inc, known, before_reading
        self.partitions: dict[TopicPartition, Partition] = {}
        self.hidden = HiddenTopics(inc, known.reported)
        self.looked = False
        self._replaced: set[UUID] = set()
        self._one_look = asyncio.Lock()
        for tp, position in known.positions.items():
            self.partitions[tp] = self._with_position(tp, position)

    async def look(self, max_age_s: float) -> Changes:
        """Ask which topics there are and take up what is new; one look at a time. The first one makes the roster complete."""
        async with self._one_look:
            return await self._look(max_age_s)

    async def _look(self, max_age_s: float) -> Changes:
        selected = await self._inc.selected(max_age_s)
        shown = await self.hidden.look(selected, self.partitions)
        if shown:
            await self._read_positions(shown)
        changes = Changes([], [], self._missing(selected, shown))
        kept = await self._still_held([tp for tp, topic_id in selected.items() if topic_id is None])
        taken_up = []
        for tp, topic_id in selected.items():
            partition = self.partitions.get(tp)
            if partition is None:
                continue
            same = tp in kept if topic_id is None else partition.topic_id == topic_id
            if partition.superseded and topic_id == partition.remade_as:
                partition.gone = False
            back = partition.gone and partition.remade_as is None and same
            if self._is_another(partition, topic_id):
                self._replaced.update(other for other in (partition.topic_id, partition.remade_as) if other is not None)
                partition.remade_as, partition.selected = topic_id, True
                changes.recreated.append(partition)
            elif not partition.selected or back:
                if back and not self._is_back(partition):
                    continue
                partition.selected = True
                taken_up.append(partition)
                (changes.recreated if partition.gone else changes.added).append(partition)
            partition.topic_id = partition.topic_id or topic_id
        for partition in await self._block_those_set_by_others(taken_up):
            partition.selected = False
            (changes.recreated if partition.gone else changes.added).remove(partition)
        for partition in await self._begin({tp: i for tp, i in selected.items() if tp not in self.partitions}):
            (changes.added if partition.remade_as is None else changes.recreated).append(partition)
        for tp, partition in self.partitions.items():
            if partition.selected and tp not in selected and not partition.gone and tp.topic not in self.hidden.names:
                partition.gone = True
                changes.gone.append(partition)
        self.looked = True
        return changes

    async def _read_positions(self, topics: Collection[str]) -> None:
        """Of topics that were hidden when the incarnation began; nobody but us has committed any since."""
        await self._before_reading()
        found = await self._inc.read_positions(self._inc.context.task.run)
        new = {tp: position for tp, position in found.items() if tp.topic in topics and tp not in self.partitions}
        self._known = self._known._replace(positions={**self._known.positions, **new})
        self.partitions |= {tp: self._with_position(tp, position) for tp, position in new.items()}

    def _missing(self, selected: Mapping[TopicPartition, UUID | None], shown: Collection[str]) -> list[Partition]:
        """With the first look, and when a topic is hidden no more: partitions of topics that were deleted while nobody looked, or before.
        They stay in sight, so that a topic of that name is known to be another one. To be told of: those whose position an owner still
        reported, and all where that stops them."""
        found = []
        stops = self._inc.spec.options.on_gap is OnGap.STOP
        selects = selected_by(self._inc.spec).selects
        for (topic, number), last in self._known.reported.items():
            tp = TopicPartition(topic, number)
            if tp in selected or not last.topic_id or not selects(topic) or not self._inc.is_ours(tp):
                continue
            if topic in self.hidden.names or (self.looked and topic not in shown):
                continue
            news = stops or last.offset is not None
            stand_in = Partition(tp, read=0, next_start=0, selected=False, gaps=0 if news else last.gaps)
            partition = self.partitions.setdefault(tp, stand_in)
            partition.topic_id, partition.gone = UUID(last.topic_id), True
            if news:
                found.append(partition)
        return found

    async def _still_held(self, nameless: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Of these, which have no topic id: those that were gone and whose position the group still has. It is forgotten with its topic."""
        gone = {tp: known.position for tp in nameless if (known := self.partitions.get(tp)) is not None and known.gone}
        if not gone:
            return set()
        found = await fetch_offsets(self._inc.cluster, self._inc.group, require_stable=False, partitions=gone)
        return {tp for tp, position in gone.items() if (held := found.committed.get(tp)) is not None and held.offset == position}

    def _is_back(self, partition: Partition) -> bool:
        """The same topic is there again: brokers did not know it for a moment. False: it has no position, and is to be begun with."""
        if partition.position is None:
            del self.partitions[partition.tp]
            return False
        partition.gone = False
        if partition.stopped is not None and partition.stopped.code == TOPIC_DELETED:
            partition.stopped = None
        return True

    async def earliest(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Log starts; partitions without a leader or rights, or whose leader is away, are left out: a later look finds them again."""
        found = await list_offsets(self._inc.cluster, dict.fromkeys(tps, EARLIEST), READ_COMMITTED, patient=False)
        return {tp: listed.offset for tp, listed in found.items() if listed.error is None and listed.offset >= 0}

    def stop(self, partition: Partition, message: str, code: str = PartitionBlocked.code) -> None:
        """One partition stands still until somebody acts; the others go on."""
        partition.stopped = Reason(code, message, since=self._inc.clock.now_ms())
        self._inc.context.ledger.event(Level.ERROR, code, message)

    def _is_another(self, partition: Partition, topic_id: UUID | None) -> bool:
        """Another topic than the one that it is a partition of, and not seen before: a broker may be late with its news."""
        known = partition.topic_id is not None and topic_id is not None
        return known and topic_id not in (partition.topic_id, partition.remade_as) and topic_id not in self._replaced

    async def _begin(self, new: Mapping[TopicPartition, UUID | None]) -> list[Partition]:
        """Partitions that have no position: from their stored start, else from the earliest record. A start in another topic, of the same
        name, that was reported of does not count; positions go with their topic."""
        known = self._known
        before = {tp: self._topic_before(tp) for tp in new}
        earlier = {tp: other for tp, other in before.items() if other is not None and new[tp] not in (None, other)}
        unknown = [tp for tp in new if tp not in known.starts or tp in earlier]
        earliest = await self.earliest(unknown) if unknown else {}
        begun = []
        for tp, topic_id in new.items():
            offset = earliest.get(tp) if tp in earlier else known.starts.get(tp, earliest.get(tp))
            if offset is None:
                if not self._is_remembered(tp):
                    continue
                offset = 0  # it is asked for again before anything is read: what was reported must not get lost until then
            partition = Partition(tp, read=offset, next_start=offset, position_start=offset, start_offset=offset, topic_id=topic_id)
            partition.initial_end = offset if self.looked else None
            if tp in earlier:
                last = known.reported[tp]
                partition.topic_id, partition.remade_as = earlier[tp], topic_id
                partition.expected, partition.gaps = last.offset, last.gaps if last.offset is None else 0
            else:
                self._check_expected(partition)
            self.partitions[tp] = partition
            begun.append(partition)
        return begun

    def _is_remembered(self, tp: TopicPartition) -> bool:
        """A position of it was reported in this run: it will be blocked, or told to be of a topic that was made again."""
        last = self._known.reported.get(tp)
        return last is not None and last.offset is not None

    def _check_expected(self, partition: Partition) -> None:
        """F3: a position was reported in this run, and the group has none: offsets were deleted or have expired."""
        last = self._reported(partition)
        if last is None or last.offset is None:
            return
        partition.expected = last.offset
        self.stop(
            partition,
            f"position of {partition.tp} is gone, last known {last.offset}; set it with smart-connect positions, or restart",
            code="position_gone",
        )

    async def _block_those_set_by_others(self, taken_up: Iterable[Partition]) -> list[Partition]:
        """A reset by hand is obeyed while the task is paused. While it runs we go on from where we are, and so does our next owner: what
        lies below the last report was committed by somebody else, or the log itself was cut there (F4); what lies above it without our
        mark was, too. A position without one that counts gets it with the next commit. Gives those of which nobody can say, as their leader
        is away: they are for a later look."""
        back = {}
        for partition in taken_up:
            position = partition.position
            if position is None or partition.stopped is not None:
                continue
            read = self._known.positions.get(partition.tp)
            partition.recommit = read is not None and read.offset == position and not read.marked
            last = self._reported(partition)
            if last is None or last.offset is None or last.before_pause:
                continue
            if position < last.offset:
                back[partition] = last.offset
            elif position > last.offset and last.marked and partition.recommit:
                partition.expected = last.offset
                self._block_foreign(partition, f"was set forward to {position}, from {last.offset} or more, by somebody else")
        return await self._block_those_set_back(back) if back else []

    async def _block_those_set_back(self, back: Mapping[Partition, int]) -> list[Partition]:
        latest = dict.fromkeys((partition.tp for partition in back), LATEST)
        ends = await list_offsets(self._inc.cluster, latest, READ_COMMITTED, patient=False)
        for partition, offset in back.items():
            end = ends[partition.tp]
            if end.error not in RETRIABLE and (end.error is not None or end.offset >= offset):
                partition.expected = offset
                self._block_foreign(partition, f"was set back from {offset} to {partition.position} by somebody else")
        return [partition for partition in back if ends[partition.tp].error in RETRIABLE]

    def _topic_before(self, tp: TopicPartition) -> UUID | None:
        """The topic that was last reported of."""
        last = self._known.reported.get(tp)
        return UUID(last.topic_id) if last is not None and last.topic_id else None

    def _reported(self, partition: Partition) -> ReportedPosition | None:
        """What was reported of this very topic."""
        last = self._known.reported.get(partition.tp)
        other = last is not None and last.topic_id and partition.topic_id and last.topic_id != str(partition.topic_id)
        return None if other else last

    def _block_foreign(self, partition: Partition, what: str) -> None:
        partition.foreign = True
        self.stop(
            partition,
            f"offset of {partition.tp} in group {self._inc.group} {what}; set it with smart-connect positions, or restart",
            code="foreign_position",
        )

    def _with_position(self, tp: TopicPartition, position: ReadPosition) -> Partition:
        run = self._inc.context.task.run
        reported = self._known.reported.get(tp)
        promise = position.promise or NOTHING
        start = position.offset if promise.next_start is None else promise.next_start
        topic_id = self._topic_before(tp)
        partition = Partition(
            tp,
            read=position.offset,
            next_start=start,
            position=position.offset,
            position_start=start,
            position_epoch=position.leader_epoch,
            leader_epoch=position.leader_epoch,
            selected=False,
            topic_id=topic_id,
            start_offset=self._known.starts.get(tp),
            initial_end=reported.initial_end if reported is not None else None,
            pending=[PendingEntry(entry, run, topic_id=topic_id) for entry in promise.entries],
            committed_at=self._inc.clock.monotonic(),
        )
        if position.promise is None:
            self._block_foreign(partition, "was written by somebody else")
        return partition
