"""Reads the settings file again when it changes, or when told (SIGHUP), in each process by itself. A bad file changes nothing: it is
reported in log and metric, and the old settings stay. What belongs to the start of a process (listener, registry, workers) is read
but takes effect with its next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.task import Kind, Task
from smartconnect.settings import Settings
from smartconnect.settings_load import fingerprint, load, secrets_of
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import SETTINGS_INFO, SETTINGS_REJECTED
from smartconnect.telemetry.redaction import PROCESS_REDACTOR

log = get_logger()

POLL_S: Final = 1.0

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """Whose connections another version of the settings changes: ids of instances and redis instances, and the object store."""

    instances: frozenset[str]
    redis_instances: frozenset[str]
    obs: bool

    def concerns(self, task: Task) -> bool:
        """Whether units of this task must begin again."""
        named = {task.instance_id, task.config.source_task.get("instance_id")}
        redis = {side.get("dcs_instance_id") for side in (task.config.source_task, task.config.sink_task)}
        return bool(named & self.instances or redis & self.redis_instances or (self.obs and task.kind is Kind.OBS_DUMP))


def connection_change(old: Settings, new: Settings) -> ConnectionChange:
    """What differs between two versions, as far as it concerns units. Whether an instance shows as enabled does not."""
    return ConnectionChange(
        instances=_differing(
            {item.id: item.model_copy(update={"connector_enabled": True, "name": ""}) for item in old.instances},
            {item.id: item.model_copy(update={"connector_enabled": True, "name": ""}) for item in new.instances},
        ),
        redis_instances=_differing({i.id: i for i in old.redis_instances}, {i.id: i for i in new.redis_instances}),
        obs=old.obs != new.obs,
    )


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> frozenset[str]:
    return frozenset(key for key in {*old, *new} if old.get(key) != new.get(key))


class SettingsWatch:
    """`current` is what this process runs with; `on_change(old, new)` is called in the loop after it was replaced."""

    def __init__(self, path: Path, settings: Settings, meters: Meters) -> None:
        self.current = settings
        self.hash = ""
        self._path = path
        self._meters = meters
        self._stamp = _stamp(path)
        self._rejected = False
        self._asked = asyncio.Event()
        self._listeners: list[Callable[[Settings, Settings], None]] = []
        self._use(settings)

    def on_change(self, listener: Callable[[Settings, Settings], None]) -> None:
        self._listeners.append(listener)

    def reload(self) -> None:
        """Read again now, changed or not: secrets may lie in other files."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._asked.wait()
            except TimeoutError:
                pass
            stamp = _stamp(self._path)
            if self._asked.is_set() or stamp != self._stamp:
                self._asked.clear()
                self._stamp = stamp
                await self._read_again()

    async def _read_again(self) -> None:
        try:
            settings = await asyncio.to_thread(load, self._path)
        except SettingsInvalid as error:
            self._meters.set(SETTINGS_REJECTED, 1)
            self._rejected = True
            log.error("the settings file is bad; what was read before stays in use", error=str(error), hash=self.hash)
            return
        self._meters.set(SETTINGS_REJECTED, 0)
        if self._rejected:
            self._rejected = False
            log.info("the settings file is good again", file=str(self._path))
        if settings == self.current:
            return
        old, self.current = self.current, settings
        self._use(settings)
        for listener in self._listeners:
            listener(old, settings)

    def _use(self, settings: Settings) -> None:
        PROCESS_REDACTOR.register(secrets_of(settings))
        self._meters.forget((), [SETTINGS_INFO])
        self.hash = fingerprint(settings)
        self._meters.set(SETTINGS_INFO, 1, (self.hash,))
        log.info("settings in use", file=str(self._path), hash=self.hash)


def _stamp(path: Path) -> Stamp | None:
    """Changes when the file is written or replaced; None while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
