"""Offsets of consumer groups, carried from the source to the target as the exact offsets of the same records (kafka-replication.md §7).

One round of one unit, for its own partitions: look at every selected group on both sides, decide (`group_rules`), remember, commit.
Guarantees: a group with consumers on the target is never touched (the broker refuses it, we only ask first); an offset goes forward, or
back where the source group went back; what the other direction of a two-way task wrote is not sent back; no written offset skips a
record that the group has not seen. What is about to be written is stored in the positions topic *before* it is committed, outside of
transactions: so the other direction recognises it, and a step back survives a crash. Called by the unit's loop every
`group_sync_interval_s`, one round at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smartconnect.domain.errors import PermissionMissing
from smartconnect.jobs.kafka_replication.group_rules import Decision, Sighting, after_commit, decide, while_active
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.other_direction import OtherDirection
from smartconnect.jobs.kafka_replication.position_codec import GroupMark
from smartconnect.jobs.kafka_replication.position_store import PositionStore
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused
from smartconnect.kafka.groups import Committed, GroupOffsets, OffsetCommit, commit_offsets, describe_group, list_groups
from smartconnect.kafka.many_groups import GROUPS_OF_QUESTION, fetch_offsets_of
from smartconnect.kafka.offsets import EARLIEST, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.plain_produce import produce_plain
from smartconnect.kafka.types import TopicPartition

_MARKS_OF_BATCH: Final = 2000
_WITHOUT_CONSUMERS: Final = ("Empty", "Dead")
_ACTIVE: Final = frozenset(
    {
        KafkaCode.UNKNOWN_MEMBER_ID,
        KafkaCode.ILLEGAL_GENERATION,
        KafkaCode.REBALANCE_IN_PROGRESS,
        KafkaCode.STALE_MEMBER_EPOCH,
        KafkaCode.FENCED_INSTANCE_ID,
    }
)
"""What a group coordinator answers to a commit from outside while the group has members."""

Offsets = Mapping[TopicPartition, Committed]


class Synced(NamedTuple):
    """A partition of the unit: where it is copied to, its offset map. `mirrored`: the other direction copies that target partition back to
    this source partition, so both hold records of their own beside copies."""

    target: TopicPartition
    map: OffsetMap
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class GroupSyncParts:
    """What a `GroupSync` works with. `partitions`: source → `Synced`, as it is now. `selects`: by the group's name. `now_ms`: for records.
    `other`: the other direction of a two-way task, needed where a partition is mirrored."""

    source: Cluster
    target: Cluster
    store: PositionStore
    partitions: Callable[[], Mapping[TopicPartition, Synced]]
    selects: Callable[[str], bool]
    now_ms: Callable[[], int]
    other: OtherDirection | None = None


@dataclass(slots=True)
class SyncReport:
    """What a round did. `groups`: with an offset on our partitions; `written`: offsets committed; `active`: groups left alone because they
    have consumers on the target; `troubles`: why a group could not be done; `checkpoints`: every translation, for MirrorMaker 2's tools."""

    groups: int = 0
    written: int = 0
    active: set[str] = field(default_factory=set)
    troubles: dict[str, str] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)


@dataclass(slots=True)
class _Plan:
    """One group in one round: decisions by source partition, and the offsets on the source with their metadata."""

    group: str
    decisions: dict[TopicPartition, Decision]
    committed: Mapping[TopicPartition, Committed]

    @property
    def writes(self) -> dict[TopicPartition, int]:
        return {tp: decision.write for tp, decision in self.decisions.items() if decision.write is not None}


class GroupSync:
    """One incarnation's. `marks`: what was stored of groups, as `PositionStore.read` gives it."""

    def __init__(self, parts: GroupSyncParts, marks: Mapping[TopicPartition, Mapping[str, GroupMark]]) -> None:
        self._parts = parts
        self._marks = {(tp, group): mark for tp, of_groups in marks.items() for group, mark in of_groups.items()}
        self._starts: dict[TopicPartition, int] = {}

    async def sync_once(self) -> SyncReport:
        """One round. What concerns one group is in the report; raises what concerns all: an unreachable cluster, a missing right to list
        groups, a damaged positions topic. Nothing is half done then: the next round begins anew."""
        parts, report = self._parts, SyncReport()
        partitions = dict(parts.partitions())
        groups = sorted(group for group in await list_groups(parts.source) if parts.selects(group)) if partitions else []
        if not groups:
            return report
        if parts.other is not None:
            await parts.other.refresh()
        await self._look_at_starts(partitions)
        for at in range(0, len(groups), GROUPS_OF_QUESTION):
            plans = await self._look(groups[at : at + GROUPS_OF_QUESTION], partitions, report)
            report.groups += len(plans)
            await self._carry_out(plans, partitions, report)
        return report

    async def _look_at_starts(self, partitions: Mapping[TopicPartition, Synced]) -> None:
        """Where the target begins: no offset before that is written, and maps need not tell about it."""
        listed = await list_offsets(
            self._parts.target, {synced.target: EARLIEST for synced in partitions.values()}, READ_UNCOMMITTED
        )
        self._starts = {tp: found.offset for tp, found in listed.items() if found.error is None}
        for synced in partitions.values():
            synced.map.forget_before(self._starts.get(synced.target, 0))

    # Looking and deciding

    async def _look(self, groups: Sequence[str], partitions: Mapping[TopicPartition, Synced], report: SyncReport) -> list[_Plan]:
        """What to do for those of the groups that have an offset on our partitions; only these are asked for on the target."""
        there = await self._offsets(self._parts.source, groups, report)
        ours = {group: {tp: at for tp, at in committed.items() if tp in partitions} for group, committed in there.items()}
        here = await self._offsets(self._parts.target, [group for group, committed in ours.items() if committed], report)
        return [self._plan(group, ours[group], committed, partitions, report) for group, committed in here.items()]

    async def _offsets(self, cluster: Cluster, groups: Sequence[str], report: SyncReport) -> dict[str, Offsets]:
        found = await fetch_offsets_of(cluster, groups)
        report.troubles |= {group: str(told) for group, told in found.items() if not isinstance(told, GroupOffsets)}
        return {group: told.committed for group, told in found.items() if isinstance(told, GroupOffsets)}

    def _plan(
        self, group: str, committed: Offsets, here: Offsets, partitions: Mapping[TopicPartition, Synced], report: SyncReport
    ) -> _Plan:
        decisions = {}
        for tp, found in committed.items():
            target = partitions[tp].target
            translated = self._translate(tp, partitions[tp], found.offset)
            if translated is None:
                continue
            report.checkpoints.append(Checkpoint(group, target, found.offset, translated, found.metadata))
            current = here.get(target)
            seen = Sighting(found.offset, current.offset if current else None, translated, self._echo(group, partitions[tp]))
            decisions[tp] = decide(seen, self._marks.get((tp, group)))
        return _Plan(group, decisions, committed)

    def _translate(self, tp: TopicPartition, synced: Synced, offset: int) -> int | None:
        """In a mirrored partition the target holds records of its own: none whose copy the group has not passed yet may be skipped. Where
        nothing copied by us lies at or behind the offset they alone decide: what we copy from now on comes behind them."""
        start, translated = self._starts.get(synced.target), synced.map.translate(offset)
        if start is None or translated is None:
            return None
        if synced.mirrored and self._parts.other is not None:
            own = self._parts.other.first_not_before(synced.target, offset)
            translated = own if translated >= synced.map.next_target else min(translated, own)
        return max(start, translated)

    def _echo(self, group: str, synced: Synced) -> int | None:
        other = self._parts.other
        return other.wrote(group, synced.target) if other is not None and synced.mirrored else None

    # Writing

    async def _carry_out(self, plans: Iterable[_Plan], partitions: Mapping[TopicPartition, Synced], report: SyncReport) -> None:
        writing: list[_Plan] = []
        for plan in plans:
            if plan.writes and await self._has_consumers(plan, report):
                self._leave_alone(plan, report)
            elif plan.writes and plan.group not in report.troubles:
                writing.append(plan)
            elif not plan.writes:
                self._marks |= {(tp, plan.group): decision.mark for tp, decision in plan.decisions.items()}
        await self._store({(tp, plan.group): plan.decisions[tp].mark for plan in writing for tp in plan.writes})
        settled: dict[tuple[TopicPartition, str], GroupMark] = {}
        for plan in writing:
            settled |= await self._commit(plan, partitions, report)
        await self._store(settled)

    async def _has_consumers(self, plan: _Plan, report: SyncReport) -> bool:
        try:
            return (await describe_group(self._parts.target, plan.group)).state not in _WITHOUT_CONSUMERS
        except (BrokerRefused, PermissionMissing) as error:
            report.troubles[plan.group] = str(error)
            return False

    async def _commit(
        self, plan: _Plan, partitions: Mapping[TopicPartition, Synced], report: SyncReport
    ) -> dict[tuple[TopicPartition, str], GroupMark]:
        """Commit one group's offsets; the marks that have to be stored because of it."""
        offsets = {
            partitions[tp].target: OffsetCommit(offset, -1, plan.committed[tp].metadata) for tp, offset in plan.writes.items()
        }
        stepped_back = [tp for tp in plan.writes if plan.decisions[tp].mark.back]
        try:
            await commit_offsets(self._parts.target, plan.group, offsets)
        except (BrokerRefused, PermissionMissing) as error:
            if isinstance(error, BrokerRefused) and error.kafka_code in _ACTIVE:
                self._leave_alone(plan, report)
                return {(tp, plan.group): self._marks[tp, plan.group] for tp in stepped_back}
            report.troubles[plan.group] = str(error)
            return {}
        report.written += len(offsets)
        self._marks |= {(tp, plan.group): after_commit(decision.mark) for tp, decision in plan.decisions.items()}
        return {(tp, plan.group): self._marks[tp, plan.group] for tp in stepped_back}

    def _leave_alone(self, plan: _Plan, report: SyncReport) -> None:
        report.active.add(plan.group)
        for tp, decision in plan.decisions.items():
            self._marks[tp, plan.group] = while_active(decision, self._marks.get((tp, plan.group)))

    async def _store(self, marks: Mapping[tuple[TopicPartition, str], GroupMark]) -> None:
        """Written to the positions topic, acknowledged, then ours."""
        entries = list(marks.items())
        for at in range(0, len(entries), _MARKS_OF_BATCH):
            part = dict(entries[at : at + _MARKS_OF_BATCH])
            batch = self._parts.store.marks_batch(part, self._parts.now_ms())
            await produce_plain(self._parts.target, self._parts.store.tp, batch)
            self._marks |= part
