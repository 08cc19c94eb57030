"""Compares what the registry wants with what runs here, every 2 s and at once when nudged, and starts and stops units. It is level-
triggered: a lost nudge costs seconds, never correctness. It waits for nothing but the registry: every unit, every chore and every
planning runs in an asyncio task of its own. Slots that were taken from us are let go without asking the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import RegistryUnreachable
from smartconnect.domain.planning import UnitName
from smartconnect.domain.task import Desired, Task
from smartconnect.engine.chores import UnitChore
from smartconnect.engine.decide import Decision, Duty, decide, home_slot, rests
from smartconnect.engine.health import RegistryHealth, Way
from smartconnect.engine.keep_intervals import KeepIntervals
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.ports import Coordinator, UnitRow, WantedTask
from smartconnect.engine.reporter import Reporter
from smartconnect.engine.status import UnitStatus
from smartconnect.engine.supervisor import UnitSupervisor, UnitWork
from smartconnect.engine.unit import StopCause
from smartconnect.engine.whole_task import WholeTaskWorks
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.names import RECONCILE_SECONDS

log = get_logger()

LOOK_EVERY_S: Final = 2.0
ANSWER_WITHIN_S: Final = 20.0

Key = tuple[str, UnitName]


@dataclass(slots=True)
class Running:
    """One unit's work here, and the asyncio task that does it."""

    work: UnitSupervisor | UnitChore
    duty: Duty
    task: Task
    slot: int
    doing: asyncio.Task[None]
    stopping: bool = False

    def stop(self, cause: StopCause) -> None:
        if not self.stopping:
            self.stopping = True
            self.work.stop(cause)

    def does(self, duty: Duty, task: Task) -> bool:
        """Whether this is what is wanted now. A held unit may go on with what it was started with."""
        if duty is Duty.HOLD:
            return self.duty is Duty.MOVE
        if duty is not self.duty:
            return False
        return duty is not Duty.MOVE or (self.task.run, self.task.revision) == (task.run, task.revision)


class Reconciler:
    """One for each worker process. `run` until cancelled; then `stop_all`."""

    def __init__(self, parts: EngineParts, coordinator: Coordinator, reporter: Reporter, health: RegistryHealth) -> None:
        self._parts = parts
        self._coordinator = coordinator
        self._reporter = reporter
        self._health = health
        self._running: dict[Key, Running] = {}
        self._ended_at: dict[Key, float] = {}
        self._whole = WholeTaskWorks(parts)
        self._keep_intervals = KeepIntervals(parts)
        self._held = coordinator.assignment()
        self._nudged = asyncio.Event()
        self._releasing: set[asyncio.Task[None]] = set()
        self._closing = False
        self.looked_at: float | None = None
        parts.nudge = reporter.on_told_end = self.nudge
        reporter.on_lost = self._lost
        coordinator.on_change(self._assignment_changed)

    def nudge(self) -> None:
        """Something changed: look at once."""
        self._nudged.set()

    def renew(self, concerns: Callable[[Task], bool]) -> None:
        """Connections of these tasks' units have changed in the settings: they drain and begin again, and wait no longer."""
        for running in self._running.values():
            if concerns(running.task):
                running.work.renew()

    async def run(self) -> None:
        while True:
            self._nudged.clear()
            await self._look()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def stop_all(self, cause: StopCause, within_s: float) -> None:
        """Drain everything; what is not done in time is cancelled."""
        self._closing = True
        self._keep_intervals.keep_only(())
        await self._whole.close()
        for running in self._running.values():
            running.stop(cause)
        doing = [running.doing for running in self._running.values()]
        if doing:
            _, late = await asyncio.wait(doing, timeout=within_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

    # -- looking -------------------------------------------------------------------------------------------------------------
    async def _look(self) -> None:
        began = self._parts.clock.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                wanted = await self._parts.registry.wanted()
        except (RegistryUnreachable, TimeoutError) as error:
            self._health.silent(Way.READ, error)
            return
        except Exception:
            log.exception("the registry could not be read")
            return
        self._health.answered(Way.READ)
        self.looked_at = self._parts.clock.monotonic()
        self._parts.meters.set(RECONCILE_SECONDS, self.looked_at - began)
        if not self._closing:
            self._compare(wanted, began)

    def _compare(self, wanted: Sequence[WantedTask], seen_at: float) -> None:
        known = {item.task.id: item for item in wanted}
        home: set[str] = set()
        for item in wanted:
            if item.task.kind not in self._parts.jobs:
                continue
            decision = self._decide(item)
            if (decision.plan or decision.finish) and self._owns(home_slot(item.task.id)):
                home.add(item.task.id)
                if decision.plan:
                    self._whole.plan(item.task)
                elif not any(key[0] == item.task.id for key in self._running):
                    self._whole.finish(item)
            self._stop_unwanted(item, decision)
            self._start_wanted(item, decision, seen_at)
        self._whole.keep_only(home)
        self._keep_intervals.keep_only({task_id for task_id, item in known.items() if rests(item.task)})
        for (task_id, _), running in self._running.items():
            if task_id not in known:
                running.stop(StopCause.DELETE)
        self._ended_at = {key: at for key, at in self._ended_at.items() if at > seen_at}

    def _decide(self, item: WantedTask) -> Decision:
        ours = rests(item.task) and any(self._owns(row.slot) for row in item.units)
        keep_every_ms = self._keep_intervals.interval_ms(item.task) if ours else None
        return decide(item, now_ms=self._parts.clock.now_ms(), keep_every_ms=keep_every_ms)

    def _stop_unwanted(self, item: WantedTask, decision: Decision) -> None:
        for (task_id, unit), running in self._running.items():
            if task_id != item.task.id:
                continue
            duty = decision.duties.get(unit)
            if duty is None and running.duty in (Duty.KEEP, Duty.SETTLE) and item.task.desired is not Desired.RUNNING:
                continue
            if duty is None or not running.does(duty, item.task):
                running.stop(_cause(item, unit, running.task))

    def _start_wanted(self, item: WantedTask, decision: Decision, seen_at: float) -> None:
        for row in item.units:
            duty = decision.duties.get(row.name)
            key = (item.task.id, row.name)
            if duty is None or duty is Duty.HOLD or key in self._running or not self._owns(row.slot):
                continue
            if self._ended_at.get(key, -1.0) >= seen_at or (duty is not Duty.MOVE and self._reporter.undelivered(key)):
                continue
            self._start(item, row, duty)

    def _start(self, item: WantedTask, row: UnitRow, duty: Duty) -> None:
        family = (row.name.prefix, row.name.plan)
        units_each = sum((other.name.prefix, other.name.plan) == family for other in item.units)
        work = UnitWork(item.task, row.name, units_each, owned=lambda: self._owns(row.slot))
        runs: UnitSupervisor | UnitChore
        if duty is Duty.MOVE:
            parts = self._parts
            status = UnitStatus(item.task, row.name, owner=parts.owner, clock=parts.clock, changed=self._reporter.changed)
            self._reporter.watch(status)
            runs = UnitSupervisor(work, parts, status)
        else:
            runs = UnitChore(duty, work, self._parts)
        doing = asyncio.create_task(runs.run(), name=f"{duty} {row.name} of {item.task.id}")
        key = (item.task.id, row.name)
        self._running[key] = Running(runs, duty, item.task, row.slot, doing)
        doing.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: Key, doing: asyncio.Task[None]) -> None:
        del self._running[key]
        self._ended_at[key] = self._parts.clock.monotonic()
        if not doing.cancelled() and (error := doing.exception()) is not None:
            log.error("a unit's supervisor itself failed", task=key[0], unit=str(key[1]), exc_info=error)
        self._release()
        self.nudge()

    # -- slots ---------------------------------------------------------------------------------------------------------------
    def _owns(self, slot: int) -> bool:
        return self._coordinator.assignment().owns(slot)

    def _assignment_changed(self) -> None:
        """Needs no registry: what is not ours any more stops now."""
        for running in self._running.values():
            if not self._owns(running.slot):
                running.stop(StopCause.HAND_OVER)
        self._release()
        self.nudge()

    def _release(self) -> None:
        """Buckets that were taken from us and in which nothing runs any more are free."""
        now = self._coordinator.assignment()
        if now.of != self._held.of:
            self._held = now
        busy = {running.slot % now.of for running in self._running.values()} if now.of else set()
        free = self._held.buckets - now.buckets - busy
        self._held = type(now)(now.buckets | ((self._held.buckets - now.buckets) & busy), now.of)
        if free:
            releasing = asyncio.ensure_future(self._coordinator.released(free))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    def _lost(self, status: UnitStatus) -> None:
        running = self._running.get(status.key())
        if running is not None and isinstance(running.work, UnitSupervisor) and running.work.status is status:
            running.work.lose()


def _cause(item: WantedTask, unit: UnitName, started_with: Task) -> StopCause:
    """Why a unit that runs here is not wanted as it is."""
    task = item.task
    if task.desired is Desired.DELETED:
        return StopCause.DELETE
    if task.desired is not Desired.RUNNING:
        return StopCause.PAUSE
    if task.failure is not None:
        return StopCause.FAILED
    if started_with.run != task.run:
        return StopCause.RESTART
    if item.plan is not None and unit.plan != item.plan.plan:
        return StopCause.NEW_PLAN
    return StopCause.MODIFY
