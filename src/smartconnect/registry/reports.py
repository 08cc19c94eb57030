"""What workers report of their units, and what the next owner of a unit wants to know of it. One transaction for all units of a worker
every 2 s; the partitions, compressed outside the loop, only when a report carries them. A report with an older epoch writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Event
from smartconnect.engine.ports import UnitReport
from smartconnect.engine.unit import ReportedPosition
from smartconnect.registry import dialect
from smartconnect.registry.codec import counters_from_text, progress_to_text, reason_to_text, to_text
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.partitions import PackedPartitions, pack_partitions
from smartconnect.registry.tables import its_unit, of_its_unit, of_unit, plans, tasks, unit_key, unit_partitions, units
from smartconnect.registry.trail import insert_events

UnitKey = tuple[str, UnitName]


class Reports(Part):
    """Write reports; read counters and positions back."""

    @unbroken
    async def report(self, reports: Sequence[UnitReport]) -> Collection[UnitKey]:
        if not reports:
            return []
        has_partitions = any(report.partitions is not None for report in reports)
        packed = await asyncio.to_thread(_pack, reports) if has_partitions else {}
        async with self._database.write() as connection:
            lost = await _lost(connection, reports)
            ours = [report for report in reports if (report.task_id, report.unit) not in lost]
            if ours:
                await connection.execute(_UPDATE, [_summary(report) for report in ours])
                await _store_partitions(connection, ours, packed)
                await insert_events(connection, _events_by_task(ours))
                await _reach_running(connection, {report.task_id for report in ours})
        await self._database.erase_due()
        return lost

    @unbroken
    async def counters(self, task_id: str, unit: UnitName, run: int) -> Mapping[str, int]:
        """Empty if nobody has reported this unit in this run."""
        statement = sa.select(units.c.progress).where(of_unit(units, task_id, unit), units.c.run == run)
        return counters_from_text(await self._database.read(lambda connection: connection.execute(statement).scalar_one_or_none()))

    @unbroken
    async def reported_positions(self, task_id: str, run: int, prefix: str) -> Mapping[tuple[str, int], ReportedPosition]:
        """Of the units of this prefix (a direction of a replication), in all plans of this run: where a newer plan has not reported a
        partition yet, an older one's word counts."""
        here = sa.and_(unit_partitions.c.task_id == task_id, unit_partitions.c.run == run, unit_partitions.c.prefix == prefix)
        statement = sa.select(unit_partitions).where(here).order_by(unit_partitions.c.plan)
        return await self._database.read(lambda connection: _positions(connection.execute(statement).mappings()))


def _positions(rows: Iterable[sa.RowMapping]) -> Mapping[tuple[str, int], ReportedPosition]:
    return {
        key: replace(position, before_pause=row["before_pause"])
        for row in rows
        for key, position in PackedPartitions(row["content"]).positions()
    }


def _pack(reports: Sequence[UnitReport]) -> Mapping[UnitKey, bytes]:
    return {(r.task_id, r.unit): pack_partitions(r.partitions) for r in reports if r.partitions is not None}


# Statements that run every 2 s are built once, as building one costs more than running it.
_EPOCHS = (
    sa.select(units.c.task_id, units.c.prefix, units.c.plan, units.c.number, units.c.epoch)
    .where(units.c.task_id.in_(sa.bindparam("its_tasks", expanding=True)))
    .with_for_update()
)


async def _lost(connection: AsyncConnection, reports: Sequence[UnitReport]) -> set[UnitKey]:
    rows = (await connection.execute(_EPOCHS, {"its_tasks": list({report.task_id for report in reports})})).mappings()
    epochs = {(row["task_id"], UnitName(row["prefix"], row["plan"], row["number"])): row["epoch"] for row in rows}
    return {(r.task_id, r.unit) for r in reports if epochs.get((r.task_id, r.unit)) != r.epoch}


_UPDATE = (
    sa.update(units)
    .where(of_its_unit(units), units.c.epoch == sa.bindparam("its_epoch"))
    .values(
        # A unit that has nothing to tell yet keeps what was told last, but never into another run.
        progress=sa.func.coalesce(
            sa.bindparam("new_progress", type_=sa.Text), sa.case((units.c.run == sa.bindparam("new_run"), units.c.progress))
        ),
        run=sa.bindparam("new_run"),
        revision=sa.bindparam("new_revision"),
        state=sa.bindparam("new_state"),
        owner=sa.bindparam("new_owner"),
        reported_at=sa.bindparam("new_reported_at"),
        reason=sa.bindparam("new_reason"),
        throughput=sa.bindparam("new_throughput"),
    )
)


def _summary(report: UnitReport) -> dict[str, object]:
    return {
        **its_unit(report.task_id, report.unit),
        "its_epoch": report.epoch,
        "new_progress": progress_to_text(report.progress),
        "new_run": report.run,
        "new_revision": report.revision,
        "new_state": report.state.value,
        "new_owner": report.owner,
        "new_reported_at": report.reported_at,
        "new_reason": reason_to_text(report.reason),
        "new_throughput": to_text(dict(report.throughput)),
    }


async def _store_partitions(connection: AsyncConnection, ours: Sequence[UnitReport], packed: Mapping[UnitKey, bytes]) -> None:
    rows = [
        unit_key(report.task_id, report.unit)
        | {"run": report.run, "content": packed[report.task_id, report.unit], "before_pause": False}
        for report in ours
        if (report.task_id, report.unit) in packed
    ]
    if rows:
        await connection.execute(dialect.insert_or_replace(unit_partitions, "run", "content", "before_pause"), rows)


def _events_by_task(reports: Sequence[UnitReport]) -> Mapping[str, Sequence[Event]]:
    by_task: dict[str, list[Event]] = {}
    for report in reports:
        if report.events:
            by_task.setdefault(report.task_id, []).extend(report.events)
    return by_task


_CONFIRMED = sa.select(plans.c.plan).where(
    plans.c.task_id == tasks.c.id, plans.c.plan == tasks.c.current_plan, plans.c.run == tasks.c.run
)
_SILENT = sa.select(units.c.number).where(
    units.c.task_id == tasks.c.id, units.c.plan == tasks.c.current_plan, units.c.run != tasks.c.run
)
_REACH_RUNNING = (
    sa.update(tasks)
    .where(tasks.c.id.in_(sa.bindparam("its_tasks", expanding=True)), tasks.c.pending_status.is_not(None))
    .where(_CONFIRMED.exists(), ~_SILENT.exists())
    .values(pending_status=None)
)


async def _reach_running(connection: AsyncConnection, task_ids: Collection[str]) -> None:
    """A task becomes RUNNING when its plan is confirmed for its run and every unit of the plan has reported in that run."""
    await connection.execute(_REACH_RUNNING, {"its_tasks": list(task_ids)})
