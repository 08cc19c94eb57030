"""What one incarnation may ask of the registry: `UnitLedger` for one (task, run, unit, epoch). Made by the unit supervisor, used by the
job. Also keeps the events that the job tells until the reporter takes them, who waits for a report, and the counters that earlier owners
had reached.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Event, Level
from smartconnect.domain.task import Task
from smartconnect.engine.ports import EngineRegistry
from smartconnect.engine.unit import OlderPlan, ReportedPosition

MAX_EVENTS: Final = 50


class Outbox:
    """Events of one unit that wait for the next report: the newest `MAX_EVENTS`, whatever happens to the registry. `wanted` is called when
    somebody waits for a report."""

    def __init__(self, unit: UnitName, clock: Clock, wanted: Callable[[], None] = lambda: None) -> None:
        self._unit = unit
        self._clock = clock
        self._wanted = wanted
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._waits: list[asyncio.Future[None]] = []

    def add(self, level: Level, code: str, message: str) -> None:
        self._events.append(Event(self._clock.now_ms(), level, code, message, str(self._unit)))

    def waiting(self) -> tuple[Event, ...]:
        return tuple(self._events)

    def take_over(self, other: Outbox) -> None:
        """What another outbox of this unit could not deliver comes before ours."""
        self._events = deque((*other._events, *self._events), maxlen=MAX_EVENTS)

    def delivered(self, events: Collection[Event]) -> None:
        """These are stored: forget them. What came meanwhile stays."""
        stored = set(events)
        self._events = deque((event for event in self._events if event not in stored), maxlen=MAX_EVENTS)

    async def stored(self) -> None:
        """Until a report that was made after this call is stored."""
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.append(waits)
        self._wanted()
        await waits

    def awaited(self) -> tuple[asyncio.Future[None], ...]:
        """Who waits for the report that is made now: to be told when it is stored."""
        self._waits = [waits for waits in self._waits if not waits.done()]
        return tuple(self._waits)


class RegistryLedger:
    """`UnitLedger` on an `EngineRegistry`. `base` are the run's counters as earlier owners had reported them."""

    def __init__(
        self, registry: EngineRegistry, task: Task, unit: UnitName, *, epoch: int, base: Mapping[str, int], outbox: Outbox
    ) -> None:
        self._registry = registry
        self._task = task
        self._unit = unit
        self._epoch = epoch
        self._base = base
        self._outbox = outbox
        self.base_given = False

    async def still_ours(self) -> bool:
        return await self._registry.unit_is_current(self._task.id, self._unit, self._epoch, self._task.run)

    async def older_plans(self) -> Sequence[OlderPlan]:
        return await self._registry.older_plans(self._task.id, self._unit.plan)

    async def record_fenced(self, plans: Sequence[int]) -> None:
        await self._registry.record_fenced(self._task.id, self._unit, self._epoch, plans)

    async def starts(self) -> Mapping[tuple[str, int], int]:
        return await self._registry.starts(self._task.id, self._task.run, self._unit.prefix)

    async def reported_positions(self) -> Mapping[tuple[str, int], ReportedPosition]:
        return await self._registry.reported_positions(self._task.id, self._task.run, self._unit.prefix)

    async def facts(self, name: str) -> Sequence[str]:
        return await self._registry.facts(self._task.id, name)

    async def counters(self) -> Mapping[str, int]:
        self.base_given = True
        return self._base

    async def open_runs(self) -> Sequence[int]:
        return await self._registry.open_runs(self._task.id, self._unit, self._task.run)

    async def close_runs(self, runs: Sequence[int]) -> None:
        await self._registry.close_runs(self._task.id, self._unit, self._epoch, runs)

    async def note_later_run(self, run: int) -> None:
        await self._registry.note_later_run(self._task.id, run)

    async def predecessors(self) -> Sequence[str]:
        return await self._registry.predecessors(self._task.id)

    async def report(self) -> None:
        await self._outbox.stored()

    def event(self, level: Level, code: str, message: str) -> None:
        self._outbox.add(level, code, message)
