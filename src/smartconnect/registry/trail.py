"""Events (told to the user in progress, newest 50 of a task) and audit (one row for each call that changes something, kept when its
task is gone)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.control.ports import AuditEvent
from smartconnect.domain.progress import Event, Level
from smartconnect.domain.task import Desired
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.tables import audit, events, tasks

EVENTS_KEPT = 50


class Trail(Part):
    """Events and audit."""

    @unbroken
    async def add_events(self, task_id: str, events: Sequence[Event]) -> None:
        """Nothing happens if the task is deleted."""
        if not events:
            return
        async with self._database.write() as connection:
            live = sa.select(tasks.c.id).where(tasks.c.id == task_id, tasks.c.desired != Desired.DELETED.value)
            if (await connection.execute(live)).first() is not None:
                await insert_events(connection, {task_id: events})

    @unbroken
    async def add_audit(self, event: AuditEvent) -> None:
        async with self._database.write() as connection:
            await insert_audit(connection, event)

    @unbroken
    async def audit_events(self, limit: int = 100) -> Sequence[AuditEvent]:
        """The newest, newest first."""
        statement = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [
            AuditEvent(
                at=row["at"],
                name=row["name"],
                outcome=row["outcome"],
                access_key=row["access_key"],
                request_id=row["request_id"],
                instance_id=row["instance_id"],
                task_id=row["task_id"],
                code=row["code"],
                details=row["details"],
            )
            for row in rows
        ]


async def insert_audit(connection: AsyncConnection, event: AuditEvent) -> None:
    """Add one audit row to a transaction."""
    await connection.execute(
        sa.insert(audit).values(
            at=event.at,
            name=event.name,
            outcome=event.outcome,
            access_key=event.access_key,
            request_id=event.request_id,
            instance_id=event.instance_id,
            task_id=event.task_id,
            code=event.code,
            details=event.details,
        )
    )


async def insert_events(connection: AsyncConnection, by_task: Mapping[str, Sequence[Event]]) -> None:
    """Add events of existing tasks to a transaction, and drop all but the newest of each of them."""
    rows = [
        {"task_id": task_id, "at": e.at, "level": e.level.value, "code": e.code, "message": e.message, "unit": e.unit}
        for task_id, told in by_task.items()
        for e in sorted(told, key=lambda event: event.at)[-EVENTS_KEPT:]
    ]
    if not rows:
        return
    await connection.execute(sa.insert(events), rows)
    await _trim(connection, {str(row["task_id"]) for row in rows})


async def _trim(connection: AsyncConnection, task_ids: Collection[str]) -> None:
    for task_id in task_ids:
        newest = sa.select(events.c.id).where(events.c.task_id == task_id)
        newest = newest.order_by(events.c.at.desc(), events.c.id.desc()).limit(EVENTS_KEPT)
        await connection.execute(sa.delete(events).where(events.c.task_id == task_id, events.c.id.not_in(newest)))


def newest_events(connection: sa.Connection, task_id: str) -> Sequence[Event]:
    """The events that are shown, newest first."""
    statement = sa.select(events).where(events.c.task_id == task_id)
    rows = connection.execute(statement.order_by(events.c.at.desc(), events.c.id.desc()).limit(EVENTS_KEPT)).mappings()
    return [Event(row["at"], Level(row["level"]), row["code"], row["message"], row["unit"]) for row in rows]
