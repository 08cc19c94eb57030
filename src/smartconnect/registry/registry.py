"""The registry as one object: it implements `EngineRegistry` for the engine and `TaskStore` for control, on one SQLite file that any
number of processes of one machine share. `app.py` and the command line open it; each group of methods is a part of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from smartconnect.control.ports import TaskStore
from smartconnect.domain.clock import Clock
from smartconnect.domain.secret import Secret
from smartconnect.engine.ports import EngineRegistry
from smartconnect.registry import dialect
from smartconnect.registry.connectors import Connectors
from smartconnect.registry.database import Database, Timing
from smartconnect.registry.keys import KeyFile
from smartconnect.registry.opening import make_ready
from smartconnect.registry.part import Equipment
from smartconnect.registry.plans import Plans
from smartconnect.registry.progress import ProgressReads
from smartconnect.registry.removal import Removal
from smartconnect.registry.reports import Reports
from smartconnect.registry.sealing import Vault
from smartconnect.registry.secrets import Secrets
from smartconnect.registry.tasks import Tasks
from smartconnect.registry.trail import Trail
from smartconnect.registry.units import Units


class Registry(Connectors, Tasks, Secrets, Plans, Units, Reports, ProgressReads, Trail, Removal, EngineRegistry, TaskStore):
    """Open it with `Registry.open`, in each process and event loop its own; end with `close`."""

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment)

    @classmethod
    async def open(
        cls,
        url: str,
        key_file: Path,
        *,
        key: Secret | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        timing: Timing | None = None,
    ) -> Registry:
        """Open, making file, schema and key file where the registry is new. `key`: the keys of the environment, instead of a file.

        SettingsInvalid: a URL or file that cannot be used, a schema newer than known, a key that is not the registry's.
        RegistryUnreachable: it has to be written to, and another process holds it for longer than the open time-out.
        """
        path = dialect.sqlite_path(url)
        vault = Vault(KeyFile(key_file), key)
        dialect.make_file(path)
        database = Database(path, timing or Timing())
        try:
            await make_ready(database, vault)
        except BaseException:
            await database.close()
            raise
        return cls(Equipment(database, vault, (clock or Clock()).now_ms, new_id))

    async def close(self) -> None:
        """Let go of the file. Nothing may be asked afterwards."""
        await self._database.close()
