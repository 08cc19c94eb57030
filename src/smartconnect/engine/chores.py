"""The short works on one unit that move no data: keep it alive (PAUSED, FAILED), settle it (its owner died while it should have
stopped), clean it (DELETED). Each takes the unit over first, so it is fenced like any owner; each is repeatable; failures are retried
until it is done or not wanted any more. Started and stopped by the reconciler, beside the unit supervisors.
"""

from __future__ import annotations

import asyncio
from typing import Final

from smartconnect.domain.errors import AuthenticationFailed, Fenced, Retryable, SmartConnectError, TargetRefused
from smartconnect.domain.progress import Level, UnitState
from smartconnect.engine import rates
from smartconnect.engine.decide import Duty
from smartconnect.engine.ledger import Outbox, RegistryLedger
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.ports import UnitReport
from smartconnect.engine.supervisor import REFUSED_WAIT_S, UnitWork
from smartconnect.engine.unit import StopCause, UnitContext
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.names import OF_A_TASK

log = get_logger()

STOP_GRACE_S: Final = 5.0


class UnitChore:
    """`run` ends when the chore is done or was stopped; it raises nothing but CancelledError."""

    def __init__(self, duty: Duty, work: UnitWork, parts: EngineParts) -> None:
        self._duty = duty
        self._work = work
        self._parts = parts
        self._outbox = Outbox(work.unit, parts.clock)
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self.log = log.bind(task=work.task.id, unit=str(work.unit), duty=duty.value)

    def stop(self, cause: StopCause) -> None:
        """What is on its way may end within a few seconds, then it is cancelled: every chore may be cut anywhere."""
        self.log.debug("chore stops", cause=cause.value)
        self._stop.set()
        self._wake.set()

    def renew(self) -> None:
        """Settings changed: if it waits for its next try, that is now."""
        self._wake.set()

    async def run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            try:
                await self._within_stop()
                return
            except SmartConnectError as error:
                failures += 1
                wait = self._failed(error, failures)
            except Exception:
                failures += 1
                self.log.exception("a chore ended with an unexpected error")
                wait = self._parts.backoff(failures)
            await self._pause(wait)

    async def _within_stop(self) -> None:
        """The chore itself; once stopped it has `STOP_GRACE_S` left."""
        once = asyncio.create_task(self._once())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({once, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not once.done():
                await asyncio.wait({once}, timeout=STOP_GRACE_S)
            if once.done():
                await once
        finally:
            stopped.cancel()
            once.cancel()
            await asyncio.wait({once, stopped}, timeout=STOP_GRACE_S)

    async def _once(self) -> None:
        task, unit, registry = self._work.task, self._work.unit, self._parts.registry
        epoch = await registry.take_unit(task.id, unit, self._parts.owner)
        if not self._work.owned():
            return
        job = self._parts.jobs[task.kind]
        match self._duty:
            case Duty.CLEAN:
                await job.clean_unit(await self._context(epoch))
                await registry.mark_gone(task.id, unit, epoch)
            case Duty.KEEP:
                await job.keep_alive(await self._context(epoch))
                await registry.mark_kept_alive(task.id, unit, epoch, self._parts.clock.now_ms())
                await self._report_stopped(epoch)
            case _:
                await self._report_stopped(epoch)
        self._parts.meters.forget((task.id,), OF_A_TASK)  # the task rests, or is gone: what the chore did is no work of it
        self.log.info("chore done", epoch=epoch)
        self._parts.nudge()

    async def _context(self, epoch: int) -> UnitContext:
        task, parts = self._work.task, self._parts
        return UnitContext(
            task=task,
            unit=self._work.unit,
            units_each=self._work.units_each,
            epoch=epoch,
            incarnation=parts.new_id(),
            secrets=await parts.secrets(task.id),
            ledger=RegistryLedger(parts.registry, task, self._work.unit, epoch=epoch, base={}, outbox=self._outbox),
            shared=parts.shared(task.kind),
        )

    async def _report_stopped(self, epoch: int) -> None:
        """Its last values stay, it stands still, and what the chore had to tell is told."""
        task = self._work.task
        report = UnitReport(
            task_id=task.id,
            unit=self._work.unit,
            epoch=epoch,
            run=task.run,
            revision=task.revision,
            state=UnitState.STOPPED,
            owner=self._parts.owner,
            reported_at=self._parts.clock.now_ms(),
            progress=None,
            reason=None,
            throughput=rates.stopped(),
            partitions=None,
            events=self._outbox.waiting(),
        )
        if await self._parts.registry.report([report]):
            raise Fenced("the registry has given the unit to somebody else")
        self._outbox.delivered(report.events)

    def _failed(self, error: SmartConnectError, failures: int) -> float:
        if failures == 1:
            self._outbox.add(Level.WARNING, error.code, str(error))
        level = self.log.info if isinstance(error, Fenced) else self.log.warning
        level("chore failed; it is tried again", code=error.code, error=str(error), failures=failures)
        if isinstance(error, AuthenticationFailed | TargetRefused):
            return REFUSED_WAIT_S
        return self._parts.backoff(failures + (0 if isinstance(error, Retryable) else 2))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
