"""The first of the two fences (architecture.md §3): whoever writes about a unit shows the epoch with which it was taken, and an older
one counts for nothing."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.errors import Fenced
from smartconnect.domain.planning import UnitName
from smartconnect.registry.tables import of_unit, units


async def require_epoch(connection: AsyncConnection, task_id: str, unit: UnitName, epoch: int) -> None:
    """Fenced unless `epoch` is the unit's newest. It stays so until the transaction ends."""
    statement = sa.select(units.c.epoch).where(of_unit(units, task_id, unit)).with_for_update()
    newest = (await connection.execute(statement)).scalar_one_or_none()
    if newest != epoch:
        raise fenced(task_id, unit)


def fenced(task_id: str, unit: UnitName) -> Fenced:
    return Fenced(f"unit {unit} of task {task_id} has a newer owner, or is not there any more; this one stops and touches nothing")
