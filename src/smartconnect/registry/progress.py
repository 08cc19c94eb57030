"""What progress shows of a task: read in one snapshot from what units reported last; nobody is asked. Control calls it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from smartconnect.control.ports import ProgressRows, StoredUnit
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import PartitionProgress, UnitState
from smartconnect.domain.task import Task
from smartconnect.registry.codec import counters_from_text, progress_from_text, reason_from_text, task_from_row
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.partitions import PackedPartitions
from smartconnect.registry.tables import tasks, unit_partitions, units
from smartconnect.registry.tasks import live_tasks
from smartconnect.registry.trail import newest_events


@dataclass(frozen=True, slots=True)
class _Page:
    offset: int
    limit: int
    topic: str | None


class ProgressReads(Part):
    """The progress resource."""

    @unbroken
    async def progress(self, task_id: str, *, offset: int, limit: int, topic: str | None) -> ProgressRows | None:
        """None if the task does not exist or is deleted. Partitions in order of topic, partition, direction."""
        page = _Page(offset, limit, topic)
        return await self._database.read(lambda connection: _progress(connection, task_id, page))


def _progress(connection: sa.Connection, task_id: str, page: _Page) -> ProgressRows | None:
    row = connection.execute(live_tasks().where(tasks.c.id == task_id)).mappings().one_or_none()
    if row is None:
        return None
    task, plan = task_from_row(row), row["current_plan"]
    rows = connection.execute(_units_of(task_id)).mappings().all()
    shown, total = _cut_page(_newest_partitions(connection, task), page)
    return ProgressRows(
        task=task,
        units_stopped=row["units_stopped"],
        units=[_unit_from_row(unit) for unit in rows if unit["plan"] == plan],
        partitions=shown,
        partitions_total=total,
        events=newest_events(connection, task_id),
        planning_failure=reason_from_text(row["planning_failure"]),
        earlier_counters=_sum_counters([unit for unit in rows if unit["plan"] != plan and unit["run"] == task.run]),
    )


def _units_of(task_id: str) -> sa.Select[*tuple[object, ...]]:
    return sa.select(units).where(units.c.task_id == task_id).order_by(units.c.plan, units.c.prefix, units.c.number)


def _newest_partitions(connection: sa.Connection, task: Task) -> Sequence[tuple[str, bytes]]:
    """(unit, column) of the newest plan of which anybody has reported partitions in this run: after a new `task_num` the last values
    stay until there are newer ones."""
    here = sa.and_(unit_partitions.c.task_id == task.id, unit_partitions.c.run == task.run)
    newest = sa.select(sa.func.max(unit_partitions.c.plan)).where(here).scalar_subquery()
    rows = connection.execute(sa.select(unit_partitions).where(here, unit_partitions.c.plan == newest)).mappings()
    return [(str(UnitName(row["prefix"], row["plan"], row["number"])), row["content"]) for row in rows]


def _cut_page(contents: Sequence[tuple[str, bytes]], page: _Page) -> tuple[Sequence[tuple[str, PartitionProgress]], int]:
    opened = [(unit, PackedPartitions(content)) for unit, content in contents]
    found = [
        (key, which, number)
        for which, (_, packed) in enumerate(opened)
        for number, key in enumerate(packed.keys())
        if page.topic is None or key[0] == page.topic
    ]
    found.sort()
    shown = found[page.offset : page.offset + page.limit]
    return [(opened[which][0], opened[which][1][number]) for _, which, number in shown], len(found)


def _unit_from_row(row: sa.RowMapping) -> StoredUnit:
    return StoredUnit(
        name=str(UnitName(row["prefix"], row["plan"], row["number"])),
        state=UnitState(row["state"]),
        owner=row["owner"],
        epoch=row["epoch"],
        run=row["run"],
        reported_at=row["reported_at"],
        progress=progress_from_text(row["progress"]),
        reason=reason_from_text(row["reason"]),
        throughput=json.loads(row["throughput"]),
    )


def _sum_counters(rows: Sequence[sa.RowMapping]) -> Mapping[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(counters_from_text(row["progress"]))
    return dict(total)
