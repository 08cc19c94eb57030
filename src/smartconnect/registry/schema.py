"""Brings the schema of an opened registry up to date, and refuses one that is newer than this process knows. `opening.py` calls it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from smartconnect.domain.errors import SettingsInvalid

NEWEST = "0003"
"""The last file of `migrations/versions` (a test compares)."""
MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up_to_date(connection: sa.Connection) -> None:
    """Migrate to NEWEST; SettingsInvalid if the schema is beyond it."""
    if not is_up_to_date(connection):
        _migrate(connection)


def is_up_to_date(connection: sa.Connection) -> bool:
    """Is the schema NEWEST? SettingsInvalid if it is beyond it."""
    found = _version(connection)
    if found is not None and found > NEWEST:
        raise SettingsInvalid(
            f"registry.url: the registry has schema {found}, made by a newer version; this one knows up to {NEWEST}: upgrade it"
        )
    return found == NEWEST


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if version is None else str(version)


def _migrate(connection: sa.Connection) -> None:
    # Half a second to import, and needed once in the life of a schema: worker starts must not pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
