"""Whether an instance has Smart Connect enabled. Control calls it; enabling and disabling are decided in one transaction, so that two
callers at once cannot both succeed and no task is left behind by a disable."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.control.ports import ConnectorState
from smartconnect.domain.task import Desired
from smartconnect.registry import dialect
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.tables import connectors, tasks

DEFAULT_NODE_COUNT = 2


class Connectors(Part):
    """The connector of each instance."""

    @unbroken
    async def connector(self, instance_id: str, enabled_at_first: bool) -> ConnectorState:
        """The state; at the first call for an instance it is made as `enabled_at_first` says."""
        known = await self._database.read(lambda connection: _connector(connection.execute(_of_instance(instance_id))))
        if known is not None:
            return known
        async with self._database.write() as connection:
            first = ConnectorState(enabled_at_first, self._new_id() if enabled_at_first else "", DEFAULT_NODE_COUNT)
            await connection.execute(dialect.insert_new(connectors).values(_row(instance_id, first)))
            return await find_connector(connection, instance_id) or first

    @unbroken
    async def set_connector(self, instance_id: str, enabled: bool, node_count: int) -> ConnectorState | None:
        """See TaskStore. Disabling what is disabled already gives its state; enabling makes a new `connector_id`."""
        async with self._database.write() as connection:
            known = await find_connector(connection, instance_id, lock=True)
            if enabled and known is not None and known.enabled:
                return None
            if not enabled and await count_live_tasks(connection, instance_id):
                return None
            if not enabled and known is not None and not known.enabled:
                return known
            wanted = ConnectorState(enabled, self._new_id() if enabled else "", node_count)
            statement = dialect.insert_or_replace(connectors, "enabled", "connector_id", "node_count")
            await connection.execute(statement.values(_row(instance_id, wanted)))
            return wanted


async def find_connector(connection: AsyncConnection, instance_id: str, *, lock: bool = False) -> ConnectorState | None:
    """`lock`: nobody else decides about this instance until the transaction ends (SQLite's writers are alone anyway)."""
    statement = _of_instance(instance_id)
    return _connector(await connection.execute(statement.with_for_update() if lock else statement))


async def count_live_tasks(connection: AsyncConnection, instance_id: str) -> int:
    """Tasks of the instance that are not deleted."""
    return (await connection.execute(live_tasks_of(instance_id))).scalar_one()


def live_tasks_of(instance_id: str) -> sa.Select[int]:
    """Their number."""
    return sa.select(sa.func.count()).where(tasks.c.instance_id == instance_id, tasks.c.desired != Desired.DELETED.value)


def _of_instance(instance_id: str) -> sa.Select[*tuple[object, ...]]:
    return sa.select(connectors).where(connectors.c.instance_id == instance_id)


def _connector(result: sa.CursorResult[*tuple[object, ...]]) -> ConnectorState | None:
    row = result.mappings().one_or_none()
    return None if row is None else ConnectorState(row["enabled"], row["connector_id"], row["node_count"])


def _row(instance_id: str, state: ConnectorState) -> dict[str, object]:
    return {
        "instance_id": instance_id,
        "enabled": state.enabled,
        "connector_id": state.connector_id,
        "node_count": state.node_count,
    }
