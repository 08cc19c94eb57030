"""The end of a deleted task: its rows and secrets go, from the file too, and one audit event stays. The engine calls it, last."""

from __future__ import annotations

import sqlalchemy as sa

from smartconnect.control.ports import AuditEvent
from smartconnect.domain.task import Desired
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.tables import tasks
from smartconnect.registry.tasks import lock_task
from smartconnect.registry.trail import insert_audit

REMOVED = "deleteConnectorTask"


class Removal(Part):
    """Removing what is deleted and cleaned up."""

    @unbroken
    async def remove_task(self, task_id: str, details: str) -> None:
        """Nothing happens to a task that is not deleted, or is removed already."""
        async with self._database.write() as connection:
            row = await lock_task(connection, task_id)
            if row is None or row["desired"] != Desired.DELETED.value:
                return
            await connection.execute(sa.delete(tasks).where(tasks.c.id == task_id))
            event = AuditEvent(
                at=self._now(),
                name=REMOVED,
                outcome="Success",
                access_key="",
                request_id="",
                instance_id=row["instance_id"],
                task_id=task_id,
                code=None,
                details=details,
            )
            await insert_audit(connection, event)
        await self._database.erase_leftovers()
