"""Units: what is wanted, who owns which, what they have closed, kept alive and cleaned. The engine calls it; `wanted` is asked every
2 s by every worker and costs two queries, whatever the number of tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Desired, Reason
from smartconnect.engine.ports import PlanRow, UnitRow, WantedTask
from smartconnect.registry import dialect
from smartconnect.registry.codec import reason_to_text, task_from_row
from smartconnect.registry.fencing import fenced, require_epoch
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.plans import layout_of
from smartconnect.registry.tables import closed_runs, its_unit, of_its_unit, of_unit, plans, task_waits, tasks, unit_key, units

EVERY_UNIT = 0
"""As `plan` of a closed run (plans count from 1): all units of some plan have closed it, so it is closed for any unit."""


class Units(Part):
    """The reconciler's and the supervisor's side of the registry."""

    @unbroken
    async def wanted(self) -> Sequence[WantedTask]:
        def look(connection: sa.Connection) -> Sequence[WantedTask]:
            by_task: defaultdict[str, list[UnitRow]] = defaultdict(list)
            rows = connection.execute(_WITH_PLAN).mappings().all()
            for row in connection.execute(_LIVE_UNITS).mappings():
                by_task[row["task_id"]].append(_unit_from_row(row))
            return [
                WantedTask(task_from_row(row), _plan_from_row(row), tuple(by_task[row["id"]]), row["deleted_at"]) for row in rows
            ]

        return await self._database.read(look)

    @unbroken
    async def take_unit(self, task_id: str, unit: UnitName, owner: str) -> int:
        """Gives the new epoch; Fenced if the unit is retired or gone with its task. A unit taken to move data shows `starting` at once,
        so that nobody calls a task paused while its unit is about to start; one taken to be kept alive shows what it showed."""
        moves = sa.select(tasks.c.id).where(
            tasks.c.id == units.c.task_id, tasks.c.desired == Desired.RUNNING.value, tasks.c.failure.is_(None)
        )
        statement = (
            sa.update(units)
            .where(of_unit(units, task_id, unit), units.c.retired.is_(False))
            .values(
                epoch=units.c.epoch + 1,
                owner=owner,
                state=sa.case((moves.exists(), UnitState.STARTING.value), else_=units.c.state),
            )
            .returning(units.c.epoch)
        )
        async with self._database.write() as connection:
            epoch = (await connection.execute(statement)).scalar_one_or_none()
        if epoch is None:
            raise fenced(task_id, unit)
        return int(epoch)

    @unbroken
    async def unit_is_current(self, task_id: str, unit: UnitName, epoch: int, run: int) -> bool:
        values = {**its_unit(task_id, unit), "its_epoch": epoch, "its_run": run}
        return await self._database.read(lambda connection: connection.execute(_IS_CURRENT, values).first() is not None)

    @unbroken
    async def open_runs(self, task_id: str, unit: UnitName, run: int) -> Sequence[int]:
        """Oldest first. A run that all units of one plan have closed is closed for the units of every plan."""
        by_us = sa.and_(closed_runs.c.plan == unit.plan, closed_runs.c.number == unit.index)
        statement = sa.select(closed_runs.c.run).where(
            closed_runs.c.task_id == task_id, closed_runs.c.prefix == unit.prefix, sa.or_(by_us, closed_runs.c.plan == EVERY_UNIT)
        )
        closed = await self._database.read(lambda connection: set(connection.execute(statement).scalars()))
        return [earlier for earlier in range(1, run) if earlier not in closed]

    @unbroken
    async def close_runs(self, task_id: str, unit: UnitName, epoch: int, runs: Sequence[int]) -> None:
        """Fenced if the epoch is not ours."""
        async with self._database.write() as connection:
            await require_epoch(connection, task_id, unit, epoch)
            if runs:
                rows = [unit_key(task_id, unit) | {"run": run} for run in runs]
                await connection.execute(dialect.insert_new(closed_runs), rows)
                await _close_for_all(connection, task_id, unit)

    @unbroken
    async def predecessors(self, task_id: str) -> Sequence[str]:
        statement = (
            sa.select(tasks.c.name)
            .join(task_waits, task_waits.c.waits_for == tasks.c.id)
            .where(task_waits.c.task_id == task_id, tasks.c.desired == Desired.DELETED.value)
            .order_by(tasks.c.name)
        )
        return await self._database.read(lambda connection: list(connection.execute(statement).scalars()))

    @unbroken
    async def fail_task(self, task_id: str, run: int, revision: int, reason: Reason) -> None:
        """The first failure stays until an action clears it; a later resume shows RUNNING at once, so nothing is pending any more."""
        here = sa.and_(tasks.c.id == task_id, tasks.c.run == run, tasks.c.revision == revision)
        standing = sa.and_(tasks.c.desired == Desired.RUNNING.value, tasks.c.failure.is_(None))
        async with self._database.write() as connection:
            values = {"failure": reason_to_text(reason), "pending_status": None}
            await connection.execute(sa.update(tasks).where(here, standing).values(values))

    @unbroken
    async def note_later_run(self, task_id: str, run: int) -> None:
        async with self._database.write() as connection:
            here = sa.and_(tasks.c.id == task_id, tasks.c.later_run < run)
            await connection.execute(sa.update(tasks).where(here).values(later_run=run))

    @unbroken
    async def mark_kept_alive(self, task_id: str, unit: UnitName, epoch: int, at: int) -> None:
        """Fenced if the epoch is not ours."""
        async with self._database.write() as connection:
            await require_epoch(connection, task_id, unit, epoch)
            await connection.execute(sa.update(units).where(of_unit(units, task_id, unit)).values(kept_alive_at=at))

    @unbroken
    async def mark_gone(self, task_id: str, unit: UnitName, epoch: int) -> bool:
        """Fenced if the epoch is not ours."""
        left = sa.select(units.c.number).where(units.c.task_id == task_id, units.c.retired.is_(False), units.c.gone.is_(False))
        async with self._database.write() as connection:
            await require_epoch(connection, task_id, unit, epoch)
            values = {"gone": True, "state": UnitState.STOPPED.value}
            await connection.execute(sa.update(units).where(of_unit(units, task_id, unit)).values(values))
            return (await connection.execute(left.limit(1))).first() is None


_UNIT_FIELDS = ("slot", "epoch", "owner", "state", "run", "revision", "retired", "gone", "kept_alive_at")
_UNIT_COLUMNS = [units.c[name] for name in ("task_id", "prefix", "plan", "number", *_UNIT_FIELDS)]
_PLAN_COLUMNS = [plans.c[name].label(f"plan_{name}") for name in ("run", "revision")] + [
    plans.c[name] for name in ("plan", "prefixes", "units_each")
]

# Statements that run all the time are built once, as building one costs more than running it.
_WITH_PLAN = (
    sa.select(tasks, *_PLAN_COLUMNS)
    .outerjoin(plans, sa.and_(plans.c.task_id == tasks.c.id, plans.c.plan == tasks.c.current_plan))
    .where(tasks.c.desired != Desired.WAITING.value)
    .order_by(tasks.c.create_time, tasks.c.id)
)
_LIVE_UNITS = (
    sa.select(*_UNIT_COLUMNS)
    .where(units.c.retired.is_(False))
    .order_by(units.c.task_id, units.c.plan, units.c.prefix, units.c.number)
)
_IS_CURRENT = (
    sa.select(units.c.epoch)
    .join(tasks, tasks.c.id == units.c.task_id)
    .where(of_its_unit(units), units.c.epoch == sa.bindparam("its_epoch"))
    .where(tasks.c.run == sa.bindparam("its_run"), tasks.c.current_plan == sa.bindparam("its_plan"))
)


def _unit_from_row(row: sa.RowMapping) -> UnitRow:
    return UnitRow(
        task_id=row["task_id"],
        name=UnitName(row["prefix"], row["plan"], row["number"]),
        slot=row["slot"],
        epoch=row["epoch"],
        owner=row["owner"],
        state=UnitState(row["state"]),
        run=row["run"],
        revision=row["revision"],
        retired=row["retired"],
        gone=row["gone"],
        kept_alive_at=row["kept_alive_at"],
    )


def _plan_from_row(row: sa.RowMapping) -> PlanRow | None:
    if row["plan"] is None:
        return None
    layout = layout_of(row)
    return PlanRow(row["plan"], layout.prefixes, layout.units_each, row["plan_run"], row["plan_revision"])


async def _close_for_all(connection: AsyncConnection, task_id: str, unit: UnitName) -> None:
    """Runs that every unit of this plan (of this prefix) has closed become one row each: restarts must not pile up rows."""
    siblings = sa.select(sa.func.count()).where(
        units.c.task_id == task_id, units.c.prefix == unit.prefix, units.c.plan == unit.plan
    )
    ours = sa.and_(closed_runs.c.task_id == task_id, closed_runs.c.prefix == unit.prefix)
    by_all = sa.select(closed_runs.c.run).where(ours, closed_runs.c.plan == unit.plan).group_by(closed_runs.c.run)
    by_all = by_all.having(sa.func.count() == siblings.scalar_subquery())
    done = list((await connection.execute(by_all)).scalars())
    if done:
        await connection.execute(sa.delete(closed_runs).where(ours, closed_runs.c.run.in_(done)))
        rows = [{"task_id": task_id, "prefix": unit.prefix, "run": run, "plan": EVERY_UNIT, "number": 0} for run in done]
        await connection.execute(sa.insert(closed_runs), rows)
