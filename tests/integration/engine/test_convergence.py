"""Whatever users do and whoever dies, in any order: the engine ends in what was asked last, and on the way no unit runs twice at once.

Two workers' engines (reconciler, reporter, supervisors) on one loop and one real SQLite registry; hypothesis chooses the story. Deaths
cut an engine off without a word, as kill -9 does; buckets move only as the parent moves them.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from smartconnect.control.ports import StaleTask, TaskChange
from smartconnect.coordination.board import BucketBoard
from smartconnect.coordination.local import PipeCoordinator
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import Fenced, Retryable
from smartconnect.domain.progress import Progress
from smartconnect.domain.task import Desired, Kind, Status, Task, TaskConfig, shown_status
from smartconnect.engine.health import RegistryHealth
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.reconciler import Reconciler
from smartconnect.engine.reporter import Reporter
from smartconnect.engine.unit import StopCause, StopSignal, UnitContext, UnitRunner
from smartconnect.registry import Registry
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.redaction import Redactor
from tests.support.toy_job import ToyJob
from tests.support.waiting import eventually

INSTANCE = "i"
DRAIN_S = 0.3
"""Longer than a take-over takes: whoever does not wait for a drain is seen."""


@dataclass
class World:
    """What runs right now, and what must never have happened."""

    alive: list[UnitContext] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    fail_next: int = 0

    def begin(self, context: UnitContext, *, alone_in_its_plan: bool = True) -> None:
        for other in self.alive:
            if other.task.id != context.task.id:
                continue
            if other.unit == context.unit:
                self.violations.append(f"{context.unit} runs twice: runs {other.task.run} and {context.task.run}")
            elif alone_in_its_plan and other.unit.plan != context.unit.plan:
                self.violations.append(f"{context.unit} began while {other.unit} still ran")
        self.alive.append(context)

    def end(self, context: UnitContext) -> None:
        self.alive.remove(context)


class StoryJob(ToyJob):
    """Its runners tell the world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def runner(self, context: UnitContext) -> UnitRunner:
        return StoryRunner(context, self._world)

    async def keep_alive(self, context: UnitContext) -> None:
        await self._touch(context)

    async def clean_unit(self, context: UnitContext) -> None:
        await self._touch(context)

    async def clean_task(self, *_: object) -> None:
        """Nothing to clean."""

    async def _touch(self, context: UnitContext) -> None:
        """Positions only; whoever starts a unit of a newer plan meanwhile fences it."""
        self._world.begin(context, alone_in_its_plan=False)
        try:
            await asyncio.sleep(0)
        finally:
            self._world.end(context)


class StoryRunner:
    def __init__(self, context: UnitContext, world: World) -> None:
        self._context = context
        self._world = world
        self._phase = "starting"

    async def run(self, stop: StopSignal) -> None:
        ledger = self._context.ledger
        await ledger.record_fenced([plan.plan for plan in await ledger.older_plans()])
        if not await ledger.still_ours():  # step 3 of a start: every job does this, and the engine counts on it
            raise Fenced("the unit is somebody else's")
        self._world.begin(self._context)
        try:
            self._phase = "dumping"
            if self._world.fail_next > 0:
                self._world.fail_next -= 1
                raise Retryable("the story says so")
            await stop.wait()
            await asyncio.sleep(DRAIN_S)
        finally:
            self._world.end(self._context)

    def progress(self) -> Progress:
        return Progress(self._phase, 0, None, None, {}, None, None)


class Engine:
    """One worker's engine, which can die."""

    def __init__(self, registry: Registry, world: World, name: str, released: object) -> None:
        clock, meters = Clock(), Meters()
        health = RegistryHealth(clock, meters)
        parts = EngineParts(
            registry=registry,
            jobs={Kind.OBS_DUMP: StoryJob(world)},
            owner=name,
            clock=clock,
            backoff=lambda attempt: 0.02,
            new_id=lambda: uuid.uuid4().hex,
            meters=meters,
            redactor=Redactor(),
        )
        self.coordinator = PipeCoordinator(released)  # type: ignore[arg-type] # a bound method
        self.reporter = Reporter(registry, health, clock=clock, meters=meters, workers=lambda: 1)
        self.reconciler = Reconciler(parts, self.coordinator, self.reporter, health)
        self.loops = [asyncio.create_task(self.reconciler.run()), asyncio.create_task(self.reporter.run())]

    async def die(self) -> None:
        """No drain, no report, no release: everything is cut where it stands."""
        self.reconciler._closing = True
        for loop in self.loops:
            loop.cancel()
        doing = [running.doing for running in self.reconciler._running.values()]
        for task in doing:
            task.cancel()
        self.reconciler._whole.keep_only(())
        await asyncio.wait([*self.loops, *doing])

    async def stop(self) -> None:
        await self.reconciler.stop_all(StopCause.SHUTDOWN, 5)
        for loop in self.loops:
            loop.cancel()
        await asyncio.wait(self.loops)


class Machine:
    """Two engines and the board that hands out buckets, as in the parent."""

    def __init__(self, registry: Registry, world: World) -> None:
        self.registry = registry
        self.world = world
        self.board = BucketBoard(2, settle_s=0.05)
        self.engines: dict[int, Engine] = {}

    def start(self, index: int) -> None:
        if index not in self.engines:
            self.engines[index] = Engine(self.registry, self.world, f"worker-{index}", lambda b: self.released(index, b))
            self.board.joined(index, asyncio.get_running_loop().time())
            self.hand_out()

    async def kill(self, index: int) -> None:
        engine = self.engines.pop(index, None)
        if engine is not None:
            await engine.die()
            self.board.gone(index)
            self.hand_out()

    def released(self, index: int, buckets: Collection[int]) -> None:
        self.board.released(index, buckets)
        self.hand_out()

    def hand_out(self) -> None:
        for index, buckets in self.board.changes(asyncio.get_running_loop().time()).items():
            self.engines[index].coordinator.assign(buckets, 2)

    def nudge(self) -> None:
        self.hand_out()
        for engine in self.engines.values():
            engine.reconciler.nudge()


ACTIONS = st.sampled_from(
    [
        "pause",
        "resume",
        "restart",
        "units=1",
        "units=2",
        "units=3",
        "modify",
        "kill 0",
        "kill 1",
        "start 0",
        "start 1",
        "error",
        "wait",
        "settle",
        "settle",
    ]
)


@example(story=["settle", "units=3", "settle", "units=2", "settle"], last="run")
@example(story=["settle", "kill 0", "settle", "start 0", "wait", "wait", "settle"], last="pause")
@example(story=["settle", "restart", "units=1", "settle", "kill 1", "restart", "settle"], last="delete")
@example(story=["settle", "kill 0", "kill 1", "units=3", "start 0", "start 1", "settle"], last="run")
@given(story=st.lists(ACTIONS, min_size=1, max_size=12), last=st.sampled_from(["run", "pause", "delete"]))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.timeout(600)
def test_any_story_ends_in_what_was_asked_last_and_no_unit_ever_ran_twice(story: list[str], last: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), story, last))


async def _play(folder: Path, story: list[str], last: str) -> None:
    async with _machine(folder) as machine:
        await _insert(machine.registry)
        machine.nudge()
        for action in story:
            await _act(machine, action)
        for index in (0, 1):
            machine.start(index)
        await _act(machine, {"run": "resume", "pause": "pause", "delete": "delete"}[last])
        await eventually(lambda: _reached(machine, last), what=f"the end of {story} then {last}")
        assert machine.world.violations == []


async def _reached(machine: Machine, last: str) -> bool:
    machine.nudge()
    wanted = {item.task.id: item for item in await machine.registry.wanted()}
    running = machine.world.alive
    if last == "delete":
        return not wanted and not running
    found = await machine.registry.find_task(INSTANCE, TASK_ID)
    assert found is not None
    task, stopped = found
    if last == "pause":
        return shown_status(task, units_stopped=stopped) is Status.PAUSED and not running
    plan = wanted[TASK_ID].plan
    units = int(str(task.config.sink_task["units"]))
    as_planned = plan is not None and {c.unit.plan for c in running} == {plan.plan} and len(running) == units
    right = all((c.task.run, c.task.revision) == (task.run, task.revision) for c in running)
    only_ours = all(row.name.plan == plan.plan for row in wanted[TASK_ID].units) if plan else False
    return as_planned and right and only_ours and shown_status(task, units_stopped=stopped) is Status.RUNNING


async def _act(machine: Machine, action: str) -> None:
    word, _, argument = action.partition(" ")
    match word:
        case "kill":
            await machine.kill(int(argument))
        case "start":
            machine.start(int(argument))
        case "error":
            machine.world.fail_next = 2
        case "wait":
            await asyncio.sleep(0.05)
        case "settle" if machine.engines:
            await _settle(machine)
        case "settle":
            pass  # nobody is there who could
        case _:
            await _change(machine, word)
    machine.nudge()
    await asyncio.sleep(0.005)


async def _settle(machine: Machine) -> None:
    """Let the engine finish what was asked: what comes next finds units at work, not on their way."""
    found = await machine.registry.find_task(INSTANCE, TASK_ID)
    assert found is not None
    last = "pause" if found[0].desired is Desired.PAUSED else "run"
    await eventually(lambda: _reached(machine, last), what=f"what was asked last: {last}")


async def _change(machine: Machine, word: str) -> None:
    found = await machine.registry.find_task(INSTANCE, TASK_ID)
    assert found is not None
    task, _ = found
    try:
        await machine.registry.update_task(task, _changes(task, word))
    except StaleTask:
        await _change(machine, word)


def _changes(task: Task, word: str) -> TaskChange:
    match word:
        case "pause":
            return TaskChange(desired=Desired.PAUSED)
        case "resume":
            return TaskChange(desired=Desired.RUNNING, pending_status=Status.PAUSED)
        case "restart":
            return TaskChange(desired=Desired.RUNNING, new_run=True, pending_status=Status.RESTARTING)
        case "delete":
            return TaskChange(desired=Desired.DELETED)
        case "modify":
            return TaskChange(config=_config(task, other=task.revision))
        case _:
            return TaskChange(config=_config(task, units=int(word.removeprefix("units="))))


def _config(task: Task, **changes: object) -> TaskConfig:
    return replace(task.config, sink_task={**task.config.sink_task, **changes})


TASK_ID = "3c0ac4d1-8c2e-4a55-9a57-0d8f6b1f2a10"


async def _insert(registry: Registry) -> None:
    await registry.connector(INSTANCE, enabled_at_first=True)
    task = Task(
        id=TASK_ID,
        project_id="p",
        instance_id=INSTANCE,
        name="story",
        kind=Kind.OBS_DUMP,
        config=TaskConfig(sink_task={"units": 2, "folder": "/nonexistent"}),
        desired=Desired.RUNNING,
        run=1,
        revision=1,
        create_time=1,
        pending_status=Status.CREATING,
    )
    await registry.insert_task(task, {}, max_tasks=18, waits_for=(), events=())


@asynccontextmanager
async def _machine(folder: Path) -> AsyncIterator[Machine]:
    registry = await Registry.open(f"sqlite:///{folder}/registry.db", folder / "key")
    machine = Machine(registry, World())
    try:
        for index in (0, 1):
            machine.start(index)
        yield machine
    finally:
        for engine in machine.engines.values():
            await engine.stop()
        await registry.close()
