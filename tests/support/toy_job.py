"""A kind of task that moves nothing but leaves traces: each unit appends lines of JSON to a file of its own folder, so that tests of
the engine see which incarnation ran where, when, with which epoch and configuration, and whether two ever ran at once.

The task's configuration carries how it behaves (`sink_task`): `folder`, `units`, `drain_s` (how long a drain takes), and `mood`, the
name of a file in the folder whose text tells what units do right now: "" (work), "retry", "refuse", "fatal", "crash", "hang"; or what
planning does: "hang planning", "refuse planning".
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smartconnect.domain.errors import ClusterUnreachable, Fatal, Fenced, Retryable, TargetRefused
from smartconnect.domain.planning import PlanLayout, Planned, Start, UnitName
from smartconnect.domain.problems import Problem
from smartconnect.domain.progress import Level, PartitionProgress, PartitionState, Progress
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.engine.job import ParsedRequest, Resolved
from smartconnect.engine.unit import StopSignal, UnitContext, UnitRunner

BEAT_S = 0.05


@dataclass(frozen=True, slots=True)
class Trace:
    """One line that a unit wrote. `at` is the machine's monotonic clock, comparable between processes."""

    at: float
    what: str
    unit: str
    pid: int
    epoch: int
    run: int
    revision: int
    cause: str = ""


class Traces:
    """The traces of one task, in its folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "traces"

    def add(self, context: UnitContext, what: str, cause: str = "") -> None:
        task = context.task
        line = [time.monotonic(), what, str(context.unit), os.getpid(), context.epoch, task.run, task.revision, cause]
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)

    def read(self) -> list[Trace]:
        if not self._file.exists():
            return []
        return [Trace(*json.loads(line)) for line in self._file.read_text().splitlines()]


class ToyJob:
    """Stands in for an OBS dump, so that nothing else needs to know of it."""

    kind = Kind.OBS_DUMP

    def __init__(self, keep_every_s: float = 3600.0) -> None:
        self._keep_every_s = keep_every_s

    def parse(self, instance_id: str, body: Mapping[str, object], *, partial: bool = False) -> ParsedRequest:
        return ParsedRequest(TaskConfig(), {}, (), ())

    def shown(self, config: TaskConfig) -> tuple[Mapping[str, object], Mapping[str, object]]:
        return {}, config.sink_task

    def conflicts(self, task: Task, others: Sequence[Task]) -> Sequence[Problem]:
        return ()

    def meaningless_positions(self, old: TaskConfig, new: TaskConfig) -> Sequence[Problem]:
        return ()

    def missing(self, config: TaskConfig) -> Sequence[Problem]:
        return ()

    async def check(self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret]) -> Sequence[Problem]:
        return ()

    async def resolve(
        self, instance_id: str, config: TaskConfig, secrets: Mapping[str, Secret], earlier: TaskConfig | None
    ) -> Resolved:
        return Resolved(config)

    def layout(self, config: TaskConfig) -> PlanLayout:
        return PlanLayout(("toy",), int(str(config.sink_task.get("units", 2))))

    async def plan(self, task: Task, secrets: Mapping[str, Secret], known: Collection[Start], facts: Mapping[str, str]) -> Planned:
        match _mood(task):
            case "hang planning":
                await asyncio.Event().wait()
            case "refuse planning":
                raise ClusterUnreachable("the toy cannot be planned")
        return Planned(self.layout(task.config))

    def worker_resources(self) -> object:
        return None

    def runner(self, context: UnitContext) -> UnitRunner:
        return ToyRunner(context)

    def drain_timeout_s(self, config: TaskConfig) -> float:
        return 2.0

    async def keep_alive_interval_s(self, task: Task) -> float:
        return self._keep_every_s

    async def keep_alive(self, context: UnitContext) -> None:
        _traces(context.task).add(context, "kept")

    async def clean_unit(self, context: UnitContext) -> None:
        _traces(context.task).add(context, "cleaned")

    async def clean_task(self, task: Task, secrets: Mapping[str, Secret], units: Sequence[UnitName]) -> None:
        (_folder(task) / "task cleaned").write_text(" ".join(map(str, units)))


class ToyRunner:
    """Beats: one counter goes up every 50 ms."""

    def __init__(self, context: UnitContext) -> None:
        self._context = context
        self._traces = _traces(context.task)
        self._phase = "starting"
        self._records = 0

    async def run(self, stop: StopSignal) -> None:
        ledger = self._context.ledger
        older = await ledger.older_plans()
        await ledger.record_fenced([plan.plan for plan in older])
        if not await ledger.still_ours():  # step 3 of a start: every job does this, and the engine counts on it
            raise Fenced("the toy's unit is somebody else's")
        self._records = (await ledger.counters()).get("records_out", 0)
        self._traces.add(self._context, "started")
        self._phase = "dumping"
        while not stop.is_set():
            await self._beat()
        await asyncio.sleep(float(str(self._context.task.config.sink_task.get("drain_s", 0))))
        self._traces.add(self._context, "stopped", str(stop.cause))

    async def _beat(self) -> None:
        match _mood(self._context.task):
            case "retry":
                raise Retryable("the toy is told to retry")
            case "refuse":
                raise TargetRefused("the toy is refused")
            case "fatal":
                raise Fatal("the toy is told to fail")
            case "crash":
                raise ZeroDivisionError("the toy has a bug")
            case "hang":
                self._context.ledger.event(Level.WARNING, "toy_hangs", "the toy hangs")
                await asyncio.Event().wait()
        self._records += 1
        self._traces.add(self._context, "beat")
        await asyncio.sleep(BEAT_S)

    def progress(self) -> Progress:
        row = PartitionProgress("toy", self._context.unit.index, "", PartitionState.MOVING, 0, self._records, None, None, None)
        return Progress(self._phase, 0, None, None, {"records_out": self._records}, 0, 0, (row,), self._records)


def _folder(task: Task) -> Path:
    return Path(str(task.config.sink_task["folder"]))


def _traces(task: Task) -> Traces:
    return Traces(_folder(task))


def _mood(task: Task) -> str:
    try:
        return (_folder(task) / str(task.config.sink_task.get("mood", "mood"))).read_text().strip()
    except FileNotFoundError:
        return ""
