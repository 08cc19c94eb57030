"""The sealed secrets of tasks: stored, opened, replaced, re-sealed with another key. Which key seals is written in the registry and
read in the transaction that seals, so that no process goes on sealing with a key that was rotated away."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from smartconnect.domain.secret import Secret
from smartconnect.registry import dialect
from smartconnect.registry.part import Part, unbroken
from smartconnect.registry.sealing import CHECK_PLACE, CHECK_TEXT, Vault, place_of
from smartconnect.registry.tables import registry_info
from smartconnect.registry.tables import secrets as sealed_secrets

CURRENT_KEY = "current_key"
KEY_CHECK = "key_check"


class Secrets(Part):
    """Reading secrets and changing the key that seals them."""

    @unbroken
    async def secrets(self, task_id: str) -> Mapping[str, Secret]:
        """By "sink_task.secret_key"; of deleted tasks too, which need them to clean up. SecretUnreadable if one cannot be opened."""
        statement = sa.select(sealed_secrets).where(sealed_secrets.c.task_id == task_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return {row["field"]: self._vault.open(place_of(task_id, row["field"]), row["sealed"]) for row in rows}

    @unbroken
    async def rotate_keys(self) -> int:
        """Seal every secret again, with a new key of the key file (older keys stay in it, for backups) or with the first one of the
        environment. Gives how many were sealed again; all or none are."""
        async with self._database.write() as connection:
            key_id = self._vault.next_key()
            rows = (await connection.execute(sa.select(sealed_secrets))).mappings().all()
            for row in rows:
                place = place_of(row["task_id"], row["field"])
                sealed = self._vault.seal(key_id, place, self._vault.open(place, row["sealed"]))
                here = sa.and_(sealed_secrets.c.task_id == row["task_id"], sealed_secrets.c.field == row["field"])
                await connection.execute(sa.update(sealed_secrets).where(here).values(sealed=sealed))
            await connection.run_sync(set_current_key, self._vault, key_id)
        await self._database.erase_leftovers()
        return len(rows)


async def store_secrets(connection: AsyncConnection, vault: Vault, task_id: str, secrets: Mapping[str, Secret]) -> None:
    """Seal and store; an empty one clears what is stored."""
    if not secrets:
        return
    key_id = await connection.run_sync(read_info, CURRENT_KEY)
    assert key_id is not None
    gone = [field for field, secret in secrets.items() if not secret]
    await connection.execute(sa.delete(sealed_secrets).where(sealed_secrets.c.task_id == task_id, sealed_secrets.c.field.in_(gone)))
    rows = [
        {"task_id": task_id, "field": field, "sealed": vault.seal(key_id, place_of(task_id, field), secret)}
        for field, secret in secrets.items()
        if secret
    ]
    if rows:
        await connection.execute(dialect.insert_or_replace(sealed_secrets, "sealed"), rows)


def read_info(connection: sa.Connection, name: str) -> str | None:
    """One fact about the registry itself."""
    value = connection.execute(sa.select(registry_info.c.value).where(registry_info.c.name == name)).scalar_one_or_none()
    return None if value is None else str(value)


def set_current_key(connection: sa.Connection, vault: Vault, key_id: str) -> None:
    """Which key seals from now on, with the check value by which a process finds that it has it."""
    rows = [
        {"name": CURRENT_KEY, "value": key_id},
        {"name": KEY_CHECK, "value": vault.seal(key_id, CHECK_PLACE, CHECK_TEXT)},
    ]
    connection.execute(dialect.insert_or_replace(registry_info, "value"), rows)
