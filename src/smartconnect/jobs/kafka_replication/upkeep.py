"""The short lives of a replication unit beside moving data: a position moved by hand, and cleaning up after delete (kafka-replication.md
§6.3, §11; architecture.md §6). Both begin like every incarnation: fence, ask the registry, read the positions.

Positions live in a compacted topic and do not expire: a paused task needs no keeping alive."""

from __future__ import annotations

from dataclasses import replace

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.kafka_replication.environment import WorkerResources
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.offset_map import moved_map
from smartconnect.jobs.kafka_replication.position_store import PositionStore, StoredPosition
from smartconnect.jobs.kafka_replication.position_writer import write_alone
from smartconnect.jobs.kafka_replication.topic_view import Seen
from smartconnect.jobs.log_bounds import bounds, wanted_offset
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.types import TopicPartition


async def clean_unit(context: UnitContext, spec: ReplicationSpec, resources: WorkerResources) -> None:
    """The unit's part of deleting: nobody older writes any more. Unit 0 of a direction removes the positions of all runs; topics, data
    and the explanation of our producer ids stay."""
    async with Incarnation(context, spec, resources) as inc:
        await inc.take_over()
        if context.unit.index == 0:
            await write_alone(inc, inc.positions.tombstones(await inc.positions.keys_of_task(), inc.clock.now_ms()))


async def close_older_runs(inc: Incarnation) -> None:
    """What a restart leaves behind: unit 0 of a direction removes the positions of runs before this one, once."""
    ledger = inc.context.ledger
    older = await ledger.open_runs()
    if not older:
        return
    if inc.context.unit.index == 0:
        await write_alone(inc, inc.positions.tombstones(await inc.positions.keys_of_older_runs(), inc.clock.now_ms()))
    await ledger.close_runs(older)


async def show(source: Cluster, store: PositionStore, seen: Seen, direction: Direction) -> list[PositionRow]:
    """Every partition of one direction that has a position in this run or is selected now."""
    found = await store.read_if_any(lambda tp: True)
    tps = sorted({*found, *found.unreadable, *seen.links, *seen.waiting})
    ends = await bounds(source, tps)
    rows = []
    for tp in tps:
        start, end = ends[tp]
        position = found[tp].next_source if tp in found else None
        foreign = tp in found.unreadable
        rows.append(PositionRow(tp.topic, tp.partition, position, start, end, foreign=foreign, direction=direction.value))
    return rows


async def move(context: UnitContext, spec: ReplicationSpec, resources: WorkerResources, change: PositionChange) -> PositionMoved:
    """Take the unit over and commit the new position. PositionRefused, Fenced."""
    tp = TopicPartition(change.topic, change.partition)
    async with Incarnation(context, spec, resources) as inc:
        offset, log_end = await wanted_offset(inc.source, tp, change.offset)
        positions = await inc.take_over()
        old = positions.get(tp)
        runs, chunks = ((), {}) if old is None else moved_map(old, positions.chunks.get(tp, ()), offset)
        reported = (await context.ledger.reported_positions()).get(tp)
        moved = replace(_moved(inc, old, offset, 0 if reported is None else reported.gaps), runs=runs)
        await write_alone(inc, [inc.positions.batch({tp: moved}, inc.clock.now_ms(), {tp: chunks})])
        return PositionMoved(None if old is None else old.next_source, offset, log_end)


def _moved(inc: Incarnation, old: StoredPosition | None, offset: int, gaps: int) -> StoredPosition:
    """The map of what was copied so far is the caller's to add. The position lies behind all `gaps` that were counted; what is skipped is
    one more."""
    if old is None:
        return StoredPosition(inc.context.epoch, None, offset, -1, None, -1, inc.clock.now_ms(), start=offset, gaps=gaps)
    return replace(
        old,
        owner_epoch=inc.context.epoch,
        next_source=offset,
        source_leader_epoch=-1,
        committed_at=inc.clock.now_ms(),
        runs=(),
        start=None if old.start is None else min(old.start, offset),
        gaps=max(old.gaps, gaps) + (offset > old.next_source),
    )
