"""A worker process: reconciler, reporter and units on one event loop. Started by the parent; it holds the slots that the parent hands
out, moves data, and reports. Ends when told to, drained, or by itself when the parent is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from smartconnect.engine.child import ChildProcess
from smartconnect.engine.garbage import collect_rarely
from smartconnect.engine.health import RegistryHealth
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.ports import Coordinator
from smartconnect.engine.protocol import Assign, Message, Nudge, Released
from smartconnect.engine.reconciler import Reconciler
from smartconnect.engine.reporter import Reporter
from smartconnect.engine.unit import StopCause
from smartconnect.settings import Settings
from smartconnect.settings_watch import SettingsWatch, connection_change
from smartconnect.telemetry.logs import get_logger

log = get_logger()

LAST_REPORT_S: Final = 3.0


class FedCoordinator(Coordinator, Protocol):
    """A coordinator that hears from the parent what is ours."""

    def assign(self, buckets: Collection[int], of: int) -> None: ...


CoordinatorMaker = Callable[[Callable[[Collection[int]], None]], FedCoordinator]
"""Gets what tells the parent that buckets were released."""


class Worker:
    """`run` is the life of the process."""

    def __init__(self, parts: EngineParts, watch: SettingsWatch, link_fd: int, make_coordinator: CoordinatorMaker) -> None:
        self._health = RegistryHealth(parts.clock, parts.meters)
        self._coordinator = make_coordinator(self._say_released)
        self._reporter = Reporter(
            parts.registry,
            self._health,
            clock=parts.clock,
            meters=parts.meters,
            workers=lambda: self._coordinator.assignment().of,
        )
        self._reconciler = Reconciler(parts, self._coordinator, self._reporter, self._health)
        self._child = ChildProcess(link_fd, watch=watch, meters=parts.meters, handle=self._handle, trouble=self._trouble)
        parts.nudge = self._reporter.on_told_end = self._nudge_all
        watch.on_change(self._settings_changed)

    async def run(self) -> None:
        collect_rarely()
        async with self._child.living():
            loops = [
                asyncio.create_task(self._reconciler.run(), name="reconciler"),
                asyncio.create_task(self._reporter.run(), name="reporter"),
            ]
            stopped = asyncio.create_task(self._child.stopped())
            done, _ = await asyncio.wait({stopped, *loops}, return_when=asyncio.FIRST_COMPLETED)
            loops[0].cancel()
            log.info("worker stops", within_s=self._child.drain_within_s)
            await self._reconciler.stop_all(StopCause.SHUTDOWN, self._child.drain_within_s)
            loops[1].cancel()
            await asyncio.wait([*loops, stopped], timeout=0)
            await self._last_report()
            stopped.cancel()
            for task in done - {stopped}:
                task.result()  # a loop that ended by itself is a bug: the process ends with its error

    async def _last_report(self) -> None:
        try:
            async with asyncio.timeout(LAST_REPORT_S):
                await self._reporter.flush()
        except TimeoutError:
            log.warning("the last report did not reach the registry")

    def _handle(self, message: Message) -> None:
        match message:
            case Assign():
                log.debug("slots assigned", buckets=list(message.buckets), of=message.of)
                self._coordinator.assign(message.buckets, message.of)
            case Nudge():
                self._reconciler.nudge()
            case _:
                log.debug("message not for a worker", kind=type(message).__name__)

    def _nudge_all(self) -> None:
        self._reconciler.nudge()
        self._child.link.send(Nudge())

    def _say_released(self, buckets: Collection[int]) -> None:
        log.info("slots released", buckets=list(buckets))
        self._child.link.send(Released(list(buckets)))

    def _trouble(self) -> str:
        self._health.measure()
        return self._health.trouble

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        change = connection_change(old, new)
        self._reconciler.renew(change.concerns)
