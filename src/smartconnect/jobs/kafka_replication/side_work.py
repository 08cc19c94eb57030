"""What a unit does beside moving data: group offsets, the memory of offset maps, MirrorMaker 2's topics (kafka-replication.md §7).

Guarantees: nothing here stops the data path; what fails is told once as an event and tried again in the next round. `run` is a task of the
incarnation's crew, started by the runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from smartconnect.domain.errors import Fenced, SmartConnectError
from smartconnect.domain.kafka_replication_spec import Direction
from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication import mm2
from smartconnect.jobs.kafka_replication.group_selection import group_selector
from smartconnect.jobs.kafka_replication.group_sync import GroupSync, GroupSyncParts, Synced
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.map_budget import MapBudget
from smartconnect.jobs.kafka_replication.mm2_formats import Checkpoint, OffsetSync
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.other_direction import OtherDirection
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.position_store import Positions
from smartconnect.kafka.types import TopicPartition

_TICK_S: Final = 1.0
_MAPS_EVERY_S: Final = 4.0
"""How long offset maps may outgrow their budget; all that there is to do where MirrorMaker 2's topics are not wanted."""
Partitions = Callable[[], Mapping[TopicPartition, Partition]]


class SideWork:
    """One incarnation's. `partitions`: those of the unit, by source, as they are now; `positions`: what was read at the start."""

    def __init__(self, inc: Incarnation, partitions: Partitions, positions: Positions, budget: MapBudget) -> None:
        self._inc, self._partitions = inc, partitions
        self._maps = _MapsKept(budget)
        self._groups = Groups(inc, partitions, positions) if inc.spec.sync_offsets else None
        self._mm2 = Mm2(inc, partitions)
        tick_s = _TICK_S if self._mm2.wanted else _MAPS_EVERY_S
        self._tick_s = min(tick_s, inc.spec.options.group_sync_interval_s)
        self._told: dict[str, str] = {}
        self._synced_at = inc.clock.monotonic()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await asyncio.sleep(self._tick_s)
                self._maps.look(self._partitions())
                await self._guarded("mm2_topics_not_written", self._mm2.tick())
                await self._sync_groups()
        finally:
            self._maps.forget()

    async def _sync_groups(self) -> None:
        now = self._inc.clock.monotonic()
        if self._groups is None or now - self._synced_at < self._inc.spec.options.group_sync_interval_s:
            return
        self._synced_at = now
        await self._guarded("groups_not_synced", self._round(self._groups))

    async def _round(self, groups: Groups) -> None:
        troubles, checkpoints = await groups.round()
        await self._guarded("mm2_topics_not_written", self._mm2.checkpoints(checkpoints))
        self._tell("group_not_synced", "; ".join(f"group {group!r}: {why}" for group, why in sorted(troubles.items())[:3]))

    async def _guarded(self, code: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Fenced:
            raise
        except SmartConnectError as error:
            self._tell(code, str(error))
        else:
            self._tell(code, "")

    def _tell(self, code: str, message: str) -> None:
        """An event when a trouble begins or changes."""
        if message and self._told.get(code) != message:
            self._inc.context.ledger.event(Level.WARNING, code, message)
        self._told[code] = message


class Groups:
    """The unit's part in group synchronisation: which partitions, which groups, and the other direction of a two-way task."""

    def __init__(self, inc: Incarnation, partitions: Partitions, positions: Positions) -> None:
        self._inc, self._partitions = inc, partitions
        self._back = self._naming_back()
        select, other = group_selector(inc.spec.options), None
        if self._back is not None:
            task, direction = inc.context.task, _opposite(inc.direction)
            other = OtherDirection(inc.source, task.id, task.run, direction, self._concerns)
        parts = GroupSyncParts(inc.source, inc.target, inc.positions, self._synced, select, inc.clock.now_ms, other)
        self._sync = GroupSync(parts, positions.marks)

    async def round(self) -> tuple[Mapping[str, str], list[Checkpoint]]:
        """(why single groups could not be done, every translation)."""
        report = await self._sync.sync_once()
        self._inc.counters["group_offsets_written"] += report.written
        return report.troubles, report.checkpoints

    def _naming_back(self) -> Naming | None:
        spec, back = self._inc.spec, _opposite(self._inc.direction)
        if back not in spec.directions or spec.rename:
            return None
        return Naming(spec, back, same_cluster=self._inc.source_id == self._inc.target_id)

    def _concerns(self, its_source: TopicPartition) -> bool:
        """A partition of the other direction that it copies to one of ours."""
        assert self._back is not None
        return self._inc.is_ours(TopicPartition(self._back.target_of(its_source.topic), its_source.partition))

    def _synced(self) -> Mapping[TopicPartition, Synced]:
        return {
            tp: Synced(partition.link.target, partition.map, self._is_mirrored(tp.topic, partition.link.target.topic))
            for tp, partition in self._partitions().items()
            if partition.map is not None and partition.selected
        }

    def _is_mirrored(self, source: str, target: str) -> bool:
        back = self._back
        return back is not None and back.selects(target) and back.target_of(target) == source


class Mm2:
    """MirrorMaker 2's topics, as far as the task wants them. Offset syncs lie on the current instance, checkpoints on the target,
    heartbeats on the source, from unit 0 alone."""

    def __init__(self, inc: Incarnation, partitions: Partitions) -> None:
        spec, replicas = inc.spec, inc.spec.replication_factor
        self._inc, self._partitions = inc, partitions
        self._source_alias, self._target_alias = spec.aliases(inc.direction)
        current = inc.target if inc.direction is Direction.PULL else inc.source
        wanted = spec.options.mm2_topics
        self._syncs = mm2.OffsetSyncs(mm2.Mm2Topic(current, mm2.offset_syncs_topic(spec.peer_alias), replicas)) if wanted else None
        checkpoints = mm2.Mm2Topic(inc.target, mm2.checkpoints_topic(self._source_alias), replicas)
        self._checkpoints = mm2.Checkpoints(checkpoints) if wanted else None
        beats = spec.options.heartbeats and inc.context.unit.index == 0
        self._heartbeats = mm2.Mm2Topic(inc.source, mm2.HEARTBEATS, replicas) if beats else None
        self._beat_at = inc.clock.monotonic() - _TICK_S

    @property
    def wanted(self) -> bool:
        """Whether anything is to be written regularly."""
        return self._heartbeats is not None or self._syncs is not None

    async def tick(self) -> None:
        """Heartbeats go out once a second, however often this is called."""
        now_ms, now = self._inc.clock.now_ms(), self._inc.clock.monotonic()
        if self._heartbeats is not None and now - self._beat_at >= _TICK_S:
            self._beat_at = now
            await mm2.beat(self._heartbeats, self._source_alias, self._target_alias, now_ms)
        if self._syncs is not None:
            for tp, partition in self._partitions().items():
                stored = partition.stored
                if stored is not None and stored.next_target >= 0:
                    self._syncs.noted(OffsetSync(tp, stored.next_source, stored.next_target))
            await self._syncs.write(now_ms)

    async def checkpoints(self, found: list[Checkpoint]) -> None:
        if self._checkpoints is not None:
            await self._checkpoints.write(found, self._inc.clock.now_ms())


class _MapsKept:
    """The unit's offset maps inside the worker's budget for them."""

    def __init__(self, budget: MapBudget) -> None:
        self._budget = budget
        self._kept: set[OffsetMap] = set()

    def look(self, partitions: Mapping[TopicPartition, Partition]) -> None:
        now = {partition.map for partition in partitions.values() if partition.map is not None}
        for offset_map in self._kept - now:
            self._budget.forget(offset_map)
        for offset_map in now - self._kept:
            self._budget.keep(offset_map)
        self._kept = now
        self._budget.enforce()

    def forget(self) -> None:
        for offset_map in self._kept:
            self._budget.forget(offset_map)


def _opposite(direction: Direction) -> Direction:
    return Direction.PUSH if direction is Direction.PULL else Direction.PULL
