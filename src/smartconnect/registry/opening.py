"""What opening a registry has to settle: its schema, and whether the sealing key of this process is its own. `Registry.open` calls it.

A registry that is as it should be is only read, so that nobody who holds the write lock (a frozen process of a dead service) keeps another
service from starting. One that is new or older than this process is brought up to date in one write transaction: of processes that open it
at once, one does it, the others find it done. Whoever holds the lock then is waited for.
"""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from smartconnect.registry.database import Database
from smartconnect.registry.schema import bring_up_to_date, is_up_to_date
from smartconnect.registry.sealing import Vault
from smartconnect.registry.secrets import CURRENT_KEY, KEY_CHECK, read_info, set_current_key


async def make_ready(database: Database, vault: Vault) -> None:
    """SettingsInvalid: a schema newer than known, or a key that is not the registry's. RegistryUnreachable after the open time-out."""
    await database.patiently(database.prepare)
    if not await database.read(partial(_is_ready, vault=vault)):
        await database.patiently(partial(_settle, database, vault))


async def _settle(database: Database, vault: Vault) -> None:
    async with database.write() as connection:
        await connection.run_sync(bring_up_to_date)
        if not await connection.run_sync(_has_our_key, vault):
            await connection.run_sync(set_current_key, vault, vault.first_key(registry_is_new=True))


def _is_ready(connection: sa.Connection, vault: Vault) -> bool:
    return is_up_to_date(connection) and _has_our_key(connection, vault)


def _has_our_key(connection: sa.Connection, vault: Vault) -> bool:
    """False: it has none yet."""
    key_id, check = read_info(connection, CURRENT_KEY), read_info(connection, KEY_CHECK)
    if key_id is None or check is None:
        return False
    vault.check(key_id, check)
    return True
