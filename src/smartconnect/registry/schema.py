"""Brings the schema of an opened registry up to date, and refuses one that is newer than this process knows. Called at every open,
inside the transaction that also settles the key: of processes that open a new registry at once, one makes it, the others find it made.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.registry import dialect

NEWEST = "0002"
"""The last file of `migrations/versions` (a test compares)."""
MIGRATIONS = Path(__file__).parent / "migrations"


async def bring_up_to_date(connection: AsyncConnection) -> None:
    """Migrate to NEWEST; SettingsInvalid if the schema is beyond it."""
    found = await _version(connection)
    if found == NEWEST:
        return
    if found is not None and found > NEWEST:
        raise SettingsInvalid(
            f"registry.url: the registry has schema {found}, made by a newer version; this one knows up to {NEWEST}: upgrade it"
        )
    await connection.run_sync(_migrate)


async def _version(connection: AsyncConnection) -> str | None:
    if not await dialect.has_table(connection, "alembic_version"):
        return None
    version = (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    return None if version is None else str(version)


def _migrate(connection: sa.Connection) -> None:
    # Half a second to import, and needed once in the life of a schema: worker starts must not pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
