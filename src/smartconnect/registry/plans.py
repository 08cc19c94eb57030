"""Planning and what it leaves: plans, units with their slots, start offsets, facts; and the retirement of older plans. The engine calls
it. The first result stored for a (task, run, revision) counts. A plan number is never given twice: plans keep their rows until the
task is removed, and the next number is above them all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName, smallest_free_slot
from smartconnect.domain.progress import UnitState
from smartconnect.domain.task import Desired, Reason, Task
from smartconnect.engine.unit import OlderPlan
from smartconnect.registry import dialect
from smartconnect.registry.codec import reason_to_text, to_text
from smartconnect.registry.fencing import require_epoch
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.tables import facts, fences, plans, starts, tasks, unit_key, units
from smartconnect.registry.tasks import lock_task

PLANNED_FOR = (Desired.RUNNING.value, Desired.PAUSED.value)


class Plans(Part):
    """Store a plan, read what belongs to it, retire older ones."""

    @unbroken
    async def store_plan(self, task: Task, planned: Planned) -> bool:
        async with self._database.write() as connection:
            row = await lock_task(connection, task.id)
            if row is None or (row["run"], row["revision"]) != (task.run, task.revision) or row["desired"] not in PLANNED_FOR:
                return False
            current = await _find_plan(connection, task.id, row["current_plan"])
            if current is not None and (current["run"], current["revision"]) == (task.run, task.revision):
                return False
            if current is None or layout_of(current) != planned.layout:
                await _insert_plan(connection, task, planned.layout)
            else:
                here = sa.and_(plans.c.task_id == task.id, plans.c.plan == current["plan"])
                await connection.execute(sa.update(plans).where(here).values(run=task.run, revision=task.revision))
            await _insert_starts(connection, task, planned.starts)
            await _insert_facts(connection, task, planned.facts)
            here, done = tasks.c.id == task.id, {} if planned.layout.unit_names(0) else {"pending_status": None}
            await connection.execute(sa.update(tasks).where(here).values(planning_failure=None, **done))
            return True

    @unbroken
    async def note_planning_failure(self, task: Task, reason: Reason) -> None:
        """Nothing happens if run or revision moved on: then the reason is of something that nobody wants any more."""
        here = sa.and_(tasks.c.id == task.id, tasks.c.run == task.run, tasks.c.revision == task.revision)
        async with self._database.write() as connection:
            await connection.execute(sa.update(tasks).where(here).values(planning_failure=reason_to_text(reason)))

    @unbroken
    async def known_starts(self, task_id: str, run: int) -> Collection[Start]:
        """The starts of a run that were resolved already; a later revision resolves only others."""
        statement = sa.select(starts).where(starts.c.task_id == task_id, starts.c.run == run)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [Start(row["prefix"], row["topic"], row["partition_number"], row["start_offset"]) for row in rows]

    @unbroken
    async def starts(self, task_id: str, run: int, prefix: str) -> Mapping[tuple[str, int], int]:
        return {(s.topic, s.partition): s.offset for s in await self.known_starts(task_id, run) if s.prefix == prefix}

    @unbroken
    async def latest_facts(self, task_id: str, run: int) -> Mapping[str, str]:
        confirmed = sa.select(sa.func.max(plans.c.revision)).where(plans.c.task_id == task_id, plans.c.run == run)
        statement = sa.select(facts.c.name, facts.c.value).where(
            facts.c.task_id == task_id, facts.c.run == run, facts.c.revision == confirmed.scalar_subquery()
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return {row["name"]: row["value"] for row in rows}

    @unbroken
    async def facts(self, task_id: str, name: str) -> Sequence[str]:
        statement = sa.select(facts.c.value).where(facts.c.task_id == task_id, facts.c.name == name)
        in_order = statement.order_by(facts.c.run, facts.c.revision)
        return await self._database.read(lambda connection: list(dict.fromkeys(connection.execute(in_order).scalars())))

    @unbroken
    async def older_plans(self, task_id: str, plan: int) -> Sequence[OlderPlan]:
        statement = sa.select(plans).where(plans.c.task_id == task_id, plans.c.plan < plan, plans.c.retired.is_(False))
        in_order = statement.order_by(plans.c.plan)
        rows = await self._database.read(lambda connection: connection.execute(in_order).mappings().all())
        return [OlderPlan(row["plan"], layout_of(row).unit_names(row["plan"])) for row in rows]

    @unbroken
    async def record_fenced(self, task_id: str, unit: UnitName, epoch: int, plans: Sequence[int]) -> None:
        """Fenced if the epoch is not ours. A plan that every unit of ours has fenced retires here: its units lose their slots."""
        async with self._database.write() as connection:
            await require_epoch(connection, task_id, unit, epoch)
            older = [plan for plan in plans if plan < unit.plan]
            if older:
                rows = [unit_key(task_id, unit) | {"fenced_plan": plan} for plan in older]
                await connection.execute(dialect.insert_new(fences), rows)
            for plan in older:
                await _retire_if_fenced(connection, task_id, plan, newer=unit.plan)


def layout_of(row: sa.RowMapping) -> PlanLayout:
    """The layout that a row of `plans` holds."""
    return PlanLayout(tuple(json.loads(row["prefixes"])), row["units_each"])


async def _find_plan(connection: AsyncConnection, task_id: str, plan: int | None) -> sa.RowMapping | None:
    statement = sa.select(plans).where(plans.c.task_id == task_id, plans.c.plan == plan)
    return None if plan is None else (await connection.execute(statement)).mappings().one()


async def _insert_plan(connection: AsyncConnection, task: Task, layout: PlanLayout) -> None:
    newest = (await connection.execute(sa.select(sa.func.max(plans.c.plan)).where(plans.c.task_id == task.id))).scalar_one()
    plan = (newest or 0) + 1
    row = {"task_id": task.id, "plan": plan, "prefixes": to_text(layout.prefixes), "units_each": layout.units_each}
    await connection.execute(sa.insert(plans).values(row | {"run": task.run, "revision": task.revision, "retired": False}))
    taken = set((await connection.execute(sa.select(units.c.slot).where(units.c.slot.is_not(None)))).scalars())
    rows = []
    for name in layout.unit_names(plan):
        slot = smallest_free_slot(taken)
        taken.add(slot)
        rows.append(_new_unit(task.id, name, slot))
    if rows:
        await connection.execute(sa.insert(units), rows)
    await connection.execute(sa.update(tasks).where(tasks.c.id == task.id).values(current_plan=plan))


def _new_unit(task_id: str, name: UnitName, slot: int) -> dict[str, object]:
    return unit_key(task_id, name) | {
        "slot": slot,
        "epoch": 0,
        "owner": "",
        "state": UnitState.UNASSIGNED.value,
        "run": 0,
        "revision": 0,
        "retired": False,
        "gone": False,
        "kept_alive_at": 0,
        "reported_at": 0,
        "progress": None,
        "reason": None,
        "throughput": "{}",
    }


async def _insert_starts(connection: AsyncConnection, task: Task, planned: Collection[Start]) -> None:
    """A start that is there already is never changed. Those of runs that nobody can start a unit of any more go."""
    past = sa.and_(starts.c.task_id == task.id, starts.c.run < task.run - 1)
    await connection.execute(sa.delete(starts).where(past))
    rows = [
        {
            "task_id": task.id,
            "run": task.run,
            "prefix": start.prefix,
            "topic": start.topic,
            "partition_number": start.partition,
            "start_offset": start.offset,
        }
        for start in planned
    ]
    if rows:
        await connection.execute(dialect.insert_new(starts), rows)


async def _insert_facts(connection: AsyncConnection, task: Task, noted: Mapping[str, str]) -> None:
    rows = [
        {"task_id": task.id, "run": task.run, "revision": task.revision, "name": name, "value": value}
        for name, value in noted.items()
    ]
    if rows:
        await connection.execute(dialect.insert_new(facts), rows)


async def _retire_if_fenced(connection: AsyncConnection, task_id: str, plan: int, *, newer: int) -> None:
    by_newer = sa.select(sa.func.count()).where(fences.c.task_id == task_id, fences.c.fenced_plan == plan, fences.c.plan == newer)
    all_newer = sa.select(sa.func.count()).where(units.c.task_id == task_id, units.c.plan == newer)
    recorded = (await connection.execute(by_newer)).scalar_one()
    if recorded < (await connection.execute(all_newer)).scalar_one():
        return
    await connection.execute(sa.update(plans).where(plans.c.task_id == task_id, plans.c.plan == plan).values(retired=True))
    old_units = sa.and_(units.c.task_id == task_id, units.c.plan == plan)
    await connection.execute(sa.update(units).where(old_units).values(retired=True, slot=None))
