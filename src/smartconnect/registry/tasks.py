"""The tasks themselves, as control sees them: a deleted task is not found here, its name is free and it does not count. Names, quota
and stale changes are decided inside the transaction that writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.control.ports import NameTaken, NotEnabled, QuotaReached, StaleTask, TaskChange
from smartconnect.domain.progress import Event, UnitState
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Status, Task
from smartconnect.registry.codec import task_from_row, task_to_row
from smartconnect.registry.connectors import count_live_tasks, find_connector, live_tasks_of
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.secrets import store_secrets
from smartconnect.registry.tables import task_waits, tasks, unit_partitions, units
from smartconnect.registry.trail import insert_events

MOVING_STATES = tuple(state.value for state in (UnitState.STARTING, UnitState.RUNNING, UnitState.RETRYING, UnitState.DRAINING))


class Tasks(Part):
    """Create, find, list, change."""

    @unbroken
    async def insert_task(
        self, task: Task, secrets: Mapping[str, Secret], *, max_tasks: int, waits_for: Sequence[str], events: Sequence[Event]
    ) -> None:
        async with self._database.write() as connection:
            connector = await find_connector(connection, task.instance_id, lock=True)
            if connector is None or not connector.enabled:
                raise NotEnabled
            await _claim_name(connection, task.instance_id, task.name)
            if await count_live_tasks(connection, task.instance_id) >= max_tasks:
                raise QuotaReached
            await connection.execute(sa.insert(tasks).values(task_to_row(task) | {"later_run": 0}))
            await store_secrets(connection, self._vault, task.id, secrets)
            waits = [{"task_id": task.id, "waits_for": other} for other in dict.fromkeys(waits_for)]
            if waits:
                await connection.execute(sa.insert(task_waits), waits)
            await insert_events(connection, {task.id: events})

    @unbroken
    async def find_task(self, instance_id: str, task_id: str) -> tuple[Task, bool] | None:
        which = {"its_instance": instance_id, "its_id": task_id}
        row = await self._database.read(lambda connection: connection.execute(_FIND, which).mappings().one_or_none())
        return None if row is None else (task_from_row(row), row["units_stopped"])

    @unbroken
    async def list_tasks(self, instance_id: str, offset: int, limit: int) -> tuple[Sequence[tuple[Task, bool]], int]:
        page = {"its_instance": instance_id, "its_offset": offset, "its_limit": limit}

        def look(connection: sa.Connection) -> tuple[Sequence[tuple[Task, bool]], int]:
            rows = connection.execute(_PAGE, page).mappings()
            found = [(task_from_row(row), bool(row["units_stopped"])) for row in rows]
            return found, connection.execute(live_tasks_of(instance_id)).scalar_one()

        return await self._database.read(look)

    @unbroken
    async def all_tasks(self, *, deleted: bool) -> Sequence[Task]:
        wanted = tasks.c.desired == Desired.DELETED.value if deleted else tasks.c.desired != Desired.DELETED.value
        statement = sa.select(tasks).where(wanted).order_by(tasks.c.create_time, tasks.c.id)
        return await self._database.read(
            lambda connection: [task_from_row(row) for row in connection.execute(statement).mappings()]
        )

    @unbroken
    async def update_task(self, task: Task, change: TaskChange) -> Task:
        async with self._database.write() as connection:
            row = await lock_task(connection, task.id)
            if row is None:
                raise StaleTask
            stored = task_from_row(row)
            same = (stored.revision, stored.run, stored.desired) == (task.revision, task.run, task.desired)
            if not same or stored.desired is Desired.DELETED:
                raise StaleTask
            if change.name is not None and change.name != stored.name:
                await _claim_name(connection, stored.instance_id, change.name)
            changed = self._changed(stored, change, later_run=row["later_run"])
            values = task_to_row(changed)
            if changed.desired is Desired.DELETED:
                values["deleted_at"] = self._now()
            if (changed.run, changed.revision) != (stored.run, stored.revision):
                values["planning_failure"] = None
            await connection.execute(sa.update(tasks).where(tasks.c.id == task.id).values(values))
            if (stored.desired, changed.desired) == (Desired.PAUSED, Desired.RUNNING):
                theirs = unit_partitions.c.task_id == task.id
                await connection.execute(sa.update(unit_partitions).where(theirs).values(before_pause=True))
            await store_secrets(connection, self._vault, task.id, change.secrets or {})
            await insert_events(connection, {task.id: change.events})
        if change.secrets:
            await self._database.erase_leftovers()
        return changed

    def _changed(self, task: Task, change: TaskChange, *, later_run: int) -> Task:
        modified = replace(task, name=change.name or task.name, config=change.config or task.config)
        grows = modified != task or bool(change.secrets)
        only_pauses = change.desired is Desired.PAUSED and not change.new_run and not grows
        pending = change.pending_status or task.pending_status
        changed = replace(
            modified,
            revision=task.revision + grows,
            desired=change.desired or task.desired,
            pending_status=None if pending is Status.RUNNING else pending,
            failure=task.failure if only_pauses else None,
        )
        if change.new_run:
            changed = replace(changed, run=max(task.run, later_run) + 1, run_started_at=self._now())
        return changed


def live_tasks() -> sa.Select[*tuple[object, ...]]:
    moving = sa.select(units.c.task_id).where(
        units.c.task_id == tasks.c.id, units.c.retired.is_(False), units.c.state.in_(MOVING_STATES)
    )
    return sa.select(tasks, (~moving.exists()).label("units_stopped")).where(tasks.c.desired != Desired.DELETED.value)


_OF_INSTANCE = live_tasks().where(tasks.c.instance_id == sa.bindparam("its_instance"))
_FIND = _OF_INSTANCE.where(tasks.c.id == sa.bindparam("its_id"))
_PAGE = _OF_INSTANCE.order_by(tasks.c.create_time, tasks.c.id)
_PAGE = _PAGE.offset(sa.bindparam("its_offset")).limit(sa.bindparam("its_limit"))
"""Made once: building a statement costs more than running it."""


async def lock_task(connection: AsyncConnection, task_id: str) -> sa.RowMapping | None:
    """The row of a task, deleted or not, which nobody else changes until the transaction ends."""
    statement = sa.select(tasks).where(tasks.c.id == task_id).with_for_update()
    return (await connection.execute(statement)).mappings().one_or_none()


async def _claim_name(connection: AsyncConnection, instance_id: str, name: str) -> None:
    taken = sa.select(tasks.c.id).where(tasks.c.instance_id == instance_id, tasks.c.live_name == name)
    if (await connection.execute(taken)).first() is not None:
        raise NameTaken
