"""A registry that does what a test says, and a job whose runners do: for the rules of supervisor, chores and reporter, where a real
registry cannot be made to answer so. The integration tests use the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Progress
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, Reason, TaskConfig
from smartconnect.engine.job import Job
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.ports import EngineRegistry, UnitReport
from smartconnect.engine.unit import StopSignal, UnitContext, UnitRunner
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.redaction import Redactor
from tests.unit.engine.rows import a_progress

Life = Callable[[StopSignal, UnitContext], Coroutine[Any, Any, None]]


@dataclass
class FakeRegistry:
    """`errors[name]`: raised by that call, once each, first to last."""

    epoch: int = 0
    current: bool = True
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    failed: list[Reason] = field(default_factory=list)
    reports: list[UnitReport] = field(default_factory=list)
    lost: set[tuple[str, UnitName]] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    async def take_unit(self, task_id: str, unit: UnitName, owner: str) -> int:
        self._call("take_unit")
        self.epoch += 1
        return self.epoch

    async def counters(self, task_id: str, unit: UnitName, run: int) -> Mapping[str, int]:
        return {}

    async def secrets(self, task_id: str) -> Mapping[str, Secret]:
        self._call("secrets")
        return {"sink_task.secret_key": Secret("canary-of-the-task")}

    async def unit_is_current(self, task_id: str, unit: UnitName, epoch: int, run: int) -> bool:
        self._call("unit_is_current")
        return self.current

    async def fail_task(self, task_id: str, run: int, revision: int, reason: Reason) -> None:
        self._call("fail_task")
        self.failed.append(reason)

    async def mark_kept_alive(self, task_id: str, unit: UnitName, epoch: int, at: int) -> None:
        self._call("mark_kept_alive")

    async def mark_gone(self, task_id: str, unit: UnitName, epoch: int) -> bool:
        self._call("mark_gone")
        return True

    async def report(self, reports: Sequence[UnitReport]) -> Collection[tuple[str, UnitName]]:
        self._call("report")
        self.reports += reports
        return self.lost


class FakeRunner:
    def __init__(self, life: Life, context: UnitContext) -> None:
        self._life, self._context = life, context

    async def run(self, stop: StopSignal) -> None:
        await self._life(stop, self._context)

    def progress(self) -> Progress:
        return a_progress()


class FakeJob:
    """`lives`: what each incarnation does, one after the other; the last one again and again."""

    kind = Kind.OBS_DUMP

    def __init__(self, *lives: Life) -> None:
        self._lives = list(lives)
        self.contexts: list[UnitContext] = []

    def worker_resources(self) -> object:
        return "shared"

    def runner(self, context: UnitContext) -> UnitRunner:
        self.contexts.append(context)
        life = self._lives.pop(0) if len(self._lives) > 1 else self._lives[0]
        return FakeRunner(life, context)

    def drain_timeout_s(self, config: TaskConfig) -> float:
        return 0.05

    async def keep_alive(self, context: UnitContext) -> None:
        await self.runner(context).run(StopSignal())

    clean_unit = keep_alive


def parts_of(registry: FakeRegistry, job: FakeJob) -> EngineParts:
    return EngineParts(
        registry=cast(EngineRegistry, registry),
        jobs={Kind.OBS_DUMP: cast(Job, job)},
        owner="host/worker-0",
        clock=Clock(),
        backoff=lambda attempt: 0.01,
        new_id=lambda: "incarnation",
        meters=Meters(),
        redactor=Redactor(),
        drain_grace_s=0.05,
    )


async def until_stopped(stop: StopSignal, _context: UnitContext) -> None:
    """An incarnation that works until it is told to stop."""
    await stop.wait()


def raising(error: Exception) -> Life:
    """An incarnation that ends with this error."""

    async def life(_stop: StopSignal, _context: UnitContext) -> None:
        raise error

    return life


async def hang(_stop: StopSignal, _context: UnitContext) -> None:
    """An incarnation that hears nothing."""
    await asyncio.Event().wait()
