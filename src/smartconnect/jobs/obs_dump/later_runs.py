"""Runs of which Kafka holds positions and the registry knows nothing: it was restored from a backup (architecture.md §4). Their positions
are never overwritten: the task fails with that reason, and a restart begins a run above them all. Deleting the task takes them along.
"""

from __future__ import annotations

import re

from smartconnect.domain.errors import Fatal, Fenced
from smartconnect.jobs.obs_dump.incarnation import Incarnation, group_name
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import list_groups


async def runs_in_kafka(cluster: Cluster, task_id: str) -> list[int]:
    """The runs of a task that have a group, in order; brokers forget a group some days after its last commit."""
    name = re.compile(re.escape(group_name(task_id, 0)[:-1]) + "([1-9][0-9]{0,8})")
    return sorted(int(found[1]) for group in await list_groups(cluster) if (found := name.fullmatch(group)))


async def refuse_later_run(inc: Incarnation) -> None:
    """After `take_over`. Fatal if there is a later run than ours, Fenced if ours has just been followed by it."""
    task, ledger = inc.context.task, inc.context.ledger
    newest = max(await runs_in_kafka(inc.cluster, task.id), default=0)
    if newest <= task.run:
        return
    if not await ledger.still_ours():
        raise Fenced(f"unit {inc.context.unit} of task {task.name} has a newer owner, run or plan")
    await ledger.note_later_run(newest)
    raise Fatal(
        f"group {group_name(task.id, newest)} holds positions of run {newest}, the registry knows run {task.run}: it was restored from a "
        "backup; restart the task to begin a run above it",
        code="later_run_found",
    )
