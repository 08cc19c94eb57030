"""The two short lives of a dump unit: keeping the positions of a PAUSED or FAILED task alive, and cleaning up after delete
(obs-dump.md §1 idle time, §10 delete). Both begin like every incarnation: fence, ask the registry, read the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.planning import UnitName, transactional_id
from smartconnect.domain.task import Task
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.obs_dump.committer import Committer, CommitterEvents
from smartconnect.jobs.obs_dump.earlier_runs import close_earlier_runs, finish_entries, give_up
from smartconnect.jobs.obs_dump.entries import Entry, Promise, encode
from smartconnect.jobs.obs_dump.environment import WorkerResources
from smartconnect.jobs.obs_dump.incarnation import Incarnation, ReadPosition, group_name
from smartconnect.jobs.obs_dump.janitor import Janitor
from smartconnect.jobs.obs_dump.later_runs import runs_in_kafka
from smartconnect.jobs.obs_dump.roster import Known, Roster
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import OffsetCommit, delete_groups
from smartconnect.kafka.transactions import TransactionalId


async def keep_alive(context: UnitContext, spec: ObsDumpSpec, resources: WorkerResources) -> None:
    """Steps 1–5 of a start, then commit every position again, and stop."""
    async with Incarnation(context, spec, resources) as inc:
        positions = await inc.take_over()
        committer = _committer(inc)
        await close_earlier_runs(inc, committer)
        ours = {tp: position for tp, position in positions.items() if position.promise is not None}
        lost = await finish_entries(inc, context.task.run, ours)
        if ours:
            kept = {tp: _kept(position, lost.get(tp, ())) for tp, position in ours.items()}
            await committer.commit_to(inc.group, context.task.run, kept)


async def clean_unit(context: UnitContext, spec: ObsDumpSpec, resources: WorkerResources) -> None:
    """The unit's part of deleting: nothing promised stays invisible, nothing unfinished stays billed."""
    async with Incarnation(context, spec, resources) as inc:
        positions = await inc.take_over()
        committer = _committer(inc)
        await close_earlier_runs(inc, committer)
        named = {tp: position for tp, position in positions.items() if position.promise is not None}
        give_up(inc, context.task.run, await finish_entries(inc, context.task.run, named))
        await _finish_later_runs(inc)
        roster = Roster(inc, Known(positions, {}, {}), partial(close_earlier_runs, inc, committer))
        await Janitor(inc, roster, committer).sweep()


async def clean_task(cluster: Cluster, task: Task, units: Sequence[UnitName]) -> None:
    """Groups of all runs are removed, after every unit id was fenced once more: nobody can write to them again."""
    for unit in units:
        await TransactionalId(cluster, transactional_id(task.id, unit)).initialise()
    runs = {*range(1, task.run + 1), *await runs_in_kafka(cluster, task.id)}
    await delete_groups(cluster, [group_name(task.id, run) for run in sorted(runs)])


async def _finish_later_runs(inc: Incarnation) -> None:
    """Of runs that the registry has forgotten; their groups go with the others."""
    for run in await runs_in_kafka(inc.cluster, inc.context.task.id):
        if run > inc.context.task.run:
            positions = await inc.read_positions(run)
            named = {tp: position for tp, position in positions.items() if position.promise is not None}
            give_up(inc, run, await finish_entries(inc, run, named))


def _kept(position: ReadPosition, lost: tuple[Entry, ...]) -> OffsetCommit:
    """The same position; what became visible is pending no more, what was lost waits for the task to move again. What somebody else may
    have written does not become ours by that."""
    assert position.promise is not None
    metadata = encode(Promise(lost, position.promise.next_start)) if position.marked else ""
    return OffsetCommit(position.offset, position.leader_epoch, metadata)


def _committer(inc: Incarnation) -> Committer:
    """For commits to groups alone; no partition wants anything here."""
    return Committer(inc.txn, inc.group, CommitterEvents(), inc.steps, inc.clock, 0.0)
