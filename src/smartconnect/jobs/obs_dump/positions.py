"""Positions by hand: shown for any task, changed for a paused one, through a take-over like any other, so that whoever held the unit is
fenced and nothing that was promised gets lost (obs-dump.md §3 unreadable metadata, §4 F3; architecture.md §6).
"""

from __future__ import annotations

from collections.abc import Sequence

from smartconnect.domain.errors import MalformedData
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.log_bounds import bounds, wanted_offset
from smartconnect.jobs.obs_dump.committer import Committer, CommitterEvents
from smartconnect.jobs.obs_dump.earlier_runs import finish_entries, give_up
from smartconnect.jobs.obs_dump.entries import NOTHING, Promise, decode, encode
from smartconnect.jobs.obs_dump.environment import WorkerResources
from smartconnect.jobs.obs_dump.incarnation import Incarnation, group_name
from smartconnect.jobs.obs_dump.topic_watch import selected_by
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import OffsetCommit, fetch_offsets
from smartconnect.kafka.types import TopicPartition


async def show(cluster: Cluster, task_id: str, run: int, spec: ObsDumpSpec) -> Sequence[PositionRow]:
    """Every partition that has a position in this run or is selected now."""
    found = await fetch_offsets(cluster, group_name(task_id, run), require_stable=False)
    tps = sorted({*found.committed, *await _selected(cluster, spec)})
    found_bounds = await bounds(cluster, tps)
    rows = []
    for tp in tps:
        committed = found.committed.get(tp)
        promise = NOTHING if committed is None else _decoded(committed.metadata)
        rows.append(
            PositionRow(
                *tp,
                None if committed is None else committed.offset,
                *found_bounds[tp],
                prepared=0 if promise is None else len(promise.entries),
                foreign=promise is None,
            )
        )
    return rows


async def move(context: UnitContext, spec: ObsDumpSpec, resources: WorkerResources, change: PositionChange) -> PositionMoved:
    """Take the unit over, make visible what the partition's position promises, commit the new position. PositionRefused, Fenced.

    The topic is asked for first: if another one has its name by the time of the commit, the position does not pass for one in that."""
    tp = TopicPartition(change.topic, change.partition)
    async with Incarnation(context, spec, resources) as inc:
        topic_id = (await inc.cluster.metadata([tp.topic])).topics[tp.topic].topic_id
        target, log_end = await wanted_offset(inc.cluster, tp, change.offset)
        positions = await inc.take_over()
        old = positions.get(tp)
        if old is not None and old.promise is not None:
            give_up(inc, context.task.run, await finish_entries(inc, context.task.run, {tp: old}))
        committer = Committer(inc.txn, inc.group, CommitterEvents(), inc.steps, inc.clock, 0.0)
        await committer.commit_to(inc.group, context.task.run, {tp: OffsetCommit(target, metadata=encode(NOTHING))})
        return PositionMoved(None if old is None else old.offset, target, log_end, str(topic_id or ""))


async def _selected(cluster: Cluster, spec: ObsDumpSpec) -> list[TopicPartition]:
    selection = selected_by(spec)
    metadata = await cluster.metadata(spec.topics or None)
    topics = [topic for topic in metadata.topics.values() if topic.error is None and selection.selects(topic.name)]
    return [TopicPartition(topic.name, number) for topic in topics for number in topic.partitions]


def _decoded(metadata: str) -> Promise | None:
    try:
        return decode(metadata)
    except MalformedData:
        return None
