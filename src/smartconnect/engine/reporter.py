"""Writes to the registry how the units here are: every 2 s, and at once when a state changed, all in one transaction. While the
registry is away nothing piles up: a unit has one row, its newest; its events are bounded by its outbox. A unit that has ended stays
here until its last row is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import RegistryUnreachable
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import UnitState
from smartconnect.engine.health import RegistryHealth, Way
from smartconnect.engine.ports import EngineRegistry, UnitReport
from smartconnect.engine.status import UnitStatus
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import (
    OF_A_TASK,
    OF_A_UNIT,
    REPORT_SECONDS,
    UNIT_COUNTER,
    UNIT_LAG_RECORDS,
    UNIT_LAG_SECONDS,
    UNITS,
)

log = get_logger()

REPORT_EVERY_S: Final = 2.0
PARTITIONS_EVERY_S: Final = 15.0
ANSWER_WITHIN_S: Final = 20.0
_MANY_PARTITIONS: Final = 1000
_SETTLE_S: Final = 0.05  # several states that change together go into one transaction

Key = tuple[str, UnitName]


class Reporter:
    """`on_lost(status)`: the registry knows a newer epoch of this unit. `on_told_end()`: the registry knows that units have ended here;
    somebody may have waited for that. `workers`: how many processes report as this one does."""

    def __init__(
        self, registry: EngineRegistry, health: RegistryHealth, *, clock: Clock, meters: Meters, workers: Callable[[], int]
    ) -> None:
        self._workers = workers
        self._registry = registry
        self._health = health
        self._clock = clock
        self._meters = meters
        self._statuses: dict[Key, UnitStatus] = {}
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self.on_lost: Callable[[UnitStatus], None] = lambda _: None
        self.on_told_end: Callable[[], None] = lambda: None

    def changed(self) -> None:
        """Some unit's state is another: report soon."""
        self._changed.set()

    def watch(self, status: UnitStatus) -> None:
        """From now on this unit is reported. A predecessor here that was not delivered hands its events on."""
        before = self._statuses.get(status.key())
        if before is not None:
            status.outbox.take_over(before.outbox)
        self._statuses[status.key()] = status

    def undelivered(self, key: Key) -> bool:
        """Whether this unit has ended here and the registry does not know that yet."""
        status = self._statuses.get(key)
        return status is not None and status.ended

    async def run(self) -> None:
        while True:
            await self.flush()
            try:
                async with asyncio.timeout(REPORT_EVERY_S):
                    await self._changed.wait()
                await asyncio.sleep(_SETTLE_S)
            except TimeoutError:
                continue

    async def flush(self) -> None:
        """One report of everything; never raises: what does not reach the registry is told the next time."""
        async with self._lock:
            self._changed.clear()
            every_s = self._partitions_every_s()
            told = [(status, report) for status in self._statuses.values() if (report := status.report(every_s)) is not None]
            self._measure([report for _, report in told])
            self._drop_never_taken()
            if told:
                await self._tell(told)

    def _partitions_every_s(self) -> float:
        """A service of few partitions tells how they are with each report, one of many as rarely as keeps what it writes below 50 KB a
        second (architecture.md §4)."""
        known = sum(status.partitions for status in self._statuses.values()) * self._workers()
        return PARTITIONS_EVERY_S * min(1.0, known / _MANY_PARTITIONS)

    async def _tell(self, told: list[tuple[UnitStatus, UnitReport]]) -> None:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                lost = await self._registry.report([report for _, report in told])
        except (RegistryUnreachable, TimeoutError) as error:
            self._health.silent(Way.WRITE, error)
            for status, _ in told:
                status.refused()
            return
        except Exception:
            log.exception("a report was refused")
            for status, _ in told:
                status.refused()
            return
        self._health.answered(Way.WRITE)
        self._meters.set(REPORT_SECONDS, self._clock.monotonic() - began)
        self._delivered(told, lost)

    def _delivered(self, told: list[tuple[UnitStatus, UnitReport]], lost: Collection[Key]) -> None:
        ended = False
        for status, report in told:
            if status.key() in lost:
                status.refused()
            else:
                status.delivered(report)
            if status.key() in lost and not status.ended and status.epoch == report.epoch:
                log.warning(
                    "the registry has a newer epoch of a unit", task=report.task_id, unit=str(report.unit), epoch=report.epoch
                )
                self.on_lost(status)
            if status.ended and report.state is status.final_state():
                self._forget(status)
                ended = True
        if ended:
            self.on_told_end()

    def _drop_never_taken(self) -> None:
        for status in [status for status in self._statuses.values() if status.ended and status.epoch == 0]:
            self._forget(status)

    def _forget(self, status: UnitStatus) -> None:
        if self._statuses.get(status.key()) is status:
            del self._statuses[status.key()]
            self._meters.forget((status.task.id, str(status.unit)), OF_A_UNIT)
            if all(task_id != status.task.id for task_id, _ in self._statuses):
                self._meters.forget((status.task.id,), OF_A_TASK)

    def _measure(self, reports: list[UnitReport]) -> None:
        for state in UnitState:
            self._meters.set(UNITS, sum(report.state is state for report in reports), (state.value,))
        for report in reports:
            labels = (report.task_id, str(report.unit))
            progress = report.progress
            if progress is None:
                continue
            for name, value in progress.counters.items():
                self._meters.set(UNIT_COUNTER, value, (*labels, name))
            if progress.lag_records is not None:
                self._meters.set(UNIT_LAG_RECORDS, progress.lag_records, labels)
            if progress.lag_ms is not None:
                self._meters.set(UNIT_LAG_SECONDS, progress.lag_ms / 1000, labels)
