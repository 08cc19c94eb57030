"""The service as real processes with the toy job, and a user of it: starts the parent, changes tasks in the registry as control does,
finds processes by what the parent logs. Used by the engine's integration tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from smartconnect.control.ports import TaskChange
from smartconnect.domain.task import Desired, Kind, Status, Task, TaskConfig, shown_status
from smartconnect.engine import launch
from smartconnect.engine.launch import Launch
from smartconnect.registry import Registry, Timing
from tests.support.toy_app import MODULE
from tests.support.toy_job import Trace, Traces
from tests.support.waiting import eventually

INSTANCE = "b54c9dd8-0000-0000-0000-000000000001"
PROJECT = "p1"


@dataclass
class ToyService:
    """One running service. `folder` holds settings, registry, log and the tasks' traces."""

    folder: Path
    port: int
    parent: subprocess.Popen[bytes]
    registry: Registry
    killed: list[int] = field(default_factory=list)

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def pid_of(self, child: str) -> int:
        """Of its newest process."""
        return int([line for line in self.log if line["event"] == "process started" and line["child"] == child][-1]["pid"])

    def starts_of(self, child: str) -> int:
        return sum(line["event"] == "process started" and line["child"] == child for line in self.log)

    async def ready(self) -> None:
        await eventually(self._is_ready, 30, what="/readyz answers 200")

    async def _is_ready(self) -> bool:
        try:
            return (await self.get("/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    # -- what a user does ----------------------------------------------------------------------------------------------------
    async def create(self, name: str = "toy", files: Mapping[str, str] | None = None, **behaviour: object) -> ToyTask:
        """`files` lie in the task's folder before it exists."""
        folder = self.folder / name
        folder.mkdir()
        for file, text in (files or {}).items():
            (folder / file).write_text(text)
        task = Task(
            id=str(uuid.uuid4()),
            project_id=PROJECT,
            instance_id=INSTANCE,
            name=name,
            kind=Kind.OBS_DUMP,
            config=TaskConfig(topics="t", sink_type="OBS_SINK", sink_task={"folder": str(folder), **behaviour}),
            desired=Desired.RUNNING,
            run=1,
            revision=1,
            create_time=int(time.time() * 1000),
            pending_status=Status.CREATING,
        )
        await self.registry.insert_task(task, {}, max_tasks=100, waits_for=(), events=())
        return ToyTask(self, task.id, folder)


@dataclass
class ToyTask:
    """One task of the service."""

    service: ToyService
    id: str
    folder: Path

    def traces(self, what: str | None = None, run: int | None = None) -> list[Trace]:
        lines = Traces(self.folder).read()
        return [t for t in lines if what in (None, t.what) and run in (None, t.run)]

    def mood(self, text: str) -> None:
        (self.folder / "mood").write_text(text)

    async def task(self) -> Task:
        found = await self.service.registry.find_task(INSTANCE, self.id)
        assert found is not None
        return found[0]

    async def status(self) -> Status:
        found = await self.service.registry.find_task(INSTANCE, self.id)
        assert found is not None
        return shown_status(found[0], units_stopped=found[1])

    async def units(self) -> dict[str, Any]:
        rows = await self.service.registry.progress(self.id, offset=0, limit=100, topic=None)
        assert rows is not None
        return {unit.name: unit for unit in rows.units}

    async def change(self, **changes: Any) -> Task:
        return await self.service.registry.update_task(await self.task(), TaskChange(**changes))

    async def pause(self) -> None:
        await self.change(desired=Desired.PAUSED)

    async def resume(self) -> None:
        await self.change(desired=Desired.RUNNING, pending_status=Status.PAUSED)

    async def restart(self) -> None:
        await self.change(desired=Desired.RUNNING, new_run=True, pending_status=Status.RESTARTING)

    async def delete(self) -> None:
        await self.change(desired=Desired.DELETED)

    async def modify(self, **behaviour: object) -> None:
        config = (await self.task()).config
        await self.change(config=replace(config, sink_task={**config.sink_task, **behaviour}))

    async def shows(self, status: Status, within_s: float = 15) -> None:
        async def does() -> bool:
            return await self.status() is status

        await eventually(does, within_s, what=f"{self.folder.name} shows {status}")

    async def beats_again(self, since: float, units: set[str], within_s: float = 15) -> None:
        """Each of these units has moved data after `since` (monotonic)."""
        await eventually(
            lambda: units <= {t.unit for t in self.traces("beat") if t.at > since}, within_s, what=f"beats of {sorted(units)}"
        )


@contextlib.asynccontextmanager
async def toy_service(
    folder: Path, port: int, *, workers: int = 2, front: str = launch.STATUS, frozen_after_s: float = 10.0
) -> AsyncIterator[ToyService]:
    """Parent and children run inside; nothing of them is left behind, also after a failure."""
    config = folder / "smart-connect.toml"
    config.write_text(_settings(folder, port))
    options = Launch(
        str(config), workers, front, frozen_after_s=frozen_after_s, stop_within_s=10, log_format="json", log_level="debug"
    )
    registry = await Registry.open(f"sqlite:///{folder}/registry.db", folder / "key", timing=Timing(busy_timeout_ms=10_000))
    await registry.connector(INSTANCE, enabled_at_first=True)
    with (folder / "log").open("ab") as log:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
        parent = subprocess.Popen(options.command(MODULE, launch.PARENT), stderr=log, stdout=log, env=environment)
    service = ToyService(folder, port, parent, registry)
    try:
        await service.ready()
        yield service
    finally:
        await _stop(service)
        await registry.close()


async def _stop(service: ToyService) -> None:
    pids = {int(line["pid"]) for line in service.log if line["event"] == "process started"}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    service.parent.terminate()
    try:
        await asyncio.to_thread(service.parent.wait, 15)
    except subprocess.TimeoutExpired:
        service.parent.kill()
        service.parent.wait()
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether this process of the service still runs."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return command.startswith(b"smart-connect ")


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def proportional_mib(pid: int) -> float:
    """Memory that a process adds: pages that it shares with others (libraries) count in part, see PSS in proc(5)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024


def _settings(folder: Path, port: int) -> str:
    return f"""
[api]
listen = "127.0.0.1:{port}"
auth = "none"
[registry]
url = "sqlite:///{folder}/registry.db"
key_file = "{folder}/key"
[[instances]]
id = "{INSTANCE}"
project_id = "{PROJECT}"
bootstrap_servers = "127.0.0.1:1"
"""
