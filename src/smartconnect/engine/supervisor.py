"""Runs one unit here for as long as it is wanted here: takes it (epoch), looks at the assignment again, builds the context, drives the
job's runner, and decides from its end what comes next. Started and stopped by the reconciler, each in an asyncio task of its own, so
that a hanging job delays nobody.

| the runner ends with | then |
| --- | --- |
| return after the stop signal | the unit has stopped |
| `Retryable` | back off, take the unit again, a new incarnation; refused credentials every 30 s |
| `Fatal` | the task is marked FAILED; the reconcilers drain its other units |
| `Fenced` | again with the same epoch if the registry says that it is still ours; else take it again if the slot is |
| anything else | a bug: as `Retryable` with code `internal_error`, logged with its traceback |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from smartconnect.domain.errors import AuthenticationFailed, Fatal, Fenced, Retryable, SmartConnectError, TargetRefused
from smartconnect.domain.planning import UnitName
from smartconnect.domain.progress import Level, UnitState
from smartconnect.domain.task import Reason, Task
from smartconnect.engine.ledger import RegistryLedger
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.status import UnitStatus
from smartconnect.engine.unit import StopCause, StopSignal, UnitContext, UnitRunner
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.names import INCARNATIONS, UNIT_ERRORS

log = get_logger()

REFUSED_WAIT_S: Final = 30.0
CURED_AFTER_S: Final = 60.0
_STARTING_POLL_S: Final = 0.25
_CANCEL_WAIT_S: Final = 5.0
_RESTING: Final = frozenset({StopCause.PAUSE, StopCause.FAILED})
_HANDED_ON: Final = frozenset({StopCause.HAND_OVER, StopCause.SHUTDOWN})


@dataclass(frozen=True, slots=True)
class UnitWork:
    """What to run: the task as it was when the unit was started (a drain keeps to it), and whether its slot is still ours."""

    task: Task
    unit: UnitName
    units_each: int
    owned: Callable[[], bool]


class UnitSupervisor:
    """`run` ends when the unit has stopped here, for whatever reason; it raises nothing but CancelledError."""

    def __init__(self, work: UnitWork, parts: EngineParts, status: UnitStatus) -> None:
        self._work = work
        self._parts = parts
        self.status = status
        self._job = parts.jobs[work.task.kind]
        self._cause: StopCause | None = None
        self._signal = StopSignal()
        self._lost = asyncio.Event()
        self._wake = asyncio.Event()
        self._attempts = 0
        self._failing_since = 0
        self._drained: int | None = None
        self.log = log.bind(task=work.task.id, unit=str(work.unit), run=work.task.run)
        self._labels = (work.task.id, str(work.unit))

    # -- called by the reconciler and the reporter ---------------------------------------------------------------------------
    def stop(self, cause: StopCause) -> None:
        """Drain and end. The first cause counts."""
        if self._cause is None:
            self._cause = cause
        self._signal.set(cause)
        self._wake.set()

    def renew(self) -> None:
        """The settings that this unit's connections come from have changed: drain, then a new incarnation; do not wait longer."""
        self._signal.set(StopCause.MODIFY)
        self._wake.set()

    def lose(self) -> None:
        """The registry says that our epoch is not the newest: the incarnation ends at once, as if it had been fenced."""
        self._lost.set()

    # -- life ----------------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        epoch: int | None = None
        try:
            while self._cause is None:
                self._signal, self._wake, self._lost = StopSignal(), asyncio.Event(), asyncio.Event()
                epoch = await self._incarnation(epoch)
        except _Ended as end:
            self.status.end(end.state, end.reason)
            return
        self.log.info("unit stopped", cause=str(self._cause))
        if self._cause in _RESTING:
            await self._note_kept_alive()
        self.status.end(UnitState.UNASSIGNED if self._cause in _HANDED_ON else UnitState.STOPPED)

    async def _note_kept_alive(self) -> None:
        """A unit that has just drained has committed what it had: its first keep-alive is due an interval from now."""
        if self._drained is None:
            return
        registry, clock = self._parts.registry, self._parts.clock
        try:
            await registry.mark_kept_alive(self._work.task.id, self._work.unit, self._drained, clock.now_ms())
        except SmartConnectError as error:
            self.log.info("the unit will be kept alive at once", error=str(error))

    async def _incarnation(self, epoch: int | None) -> int | None:
        """One incarnation and the wait after it. Returns the epoch to go on with: None means take the unit anew."""
        began = self._parts.clock.monotonic()
        try:
            if epoch is None:
                epoch = await self._take()
            runner = await self._build(epoch)
            if await self._drive(runner):
                self._drained = epoch
            if not self._signal.is_set():
                raise Retryable("the unit ended by itself; it begins again", code="ended_by_itself")
            return None
        except _Ended:
            raise
        except Fenced:
            return await self._after_fenced(epoch, began)
        except Fatal as error:
            await self._fail_task(error)
        except Retryable as error:
            await self._back_off(error, began)
        except SmartConnectError as error:
            await self._back_off(Retryable(str(error), code=error.code), began)
        except Exception:
            self.log.exception("a unit ended with an unexpected error")
            await self._back_off(_internal_error(), began)
        return None

    async def _take(self) -> int:
        """The first fence; then the assignment once more: a sleeper may do this late, when the slot is somebody else's."""
        task = self._work.task
        epoch = await self._parts.registry.take_unit(task.id, self._work.unit, self._parts.owner)
        if not self._work.owned():
            raise _Ended(UnitState.UNASSIGNED)
        base = await self._parts.registry.counters(task.id, self._work.unit, task.run)
        self.status.taken(epoch, base)
        self.log.info("unit taken", epoch=epoch)
        return epoch

    async def _build(self, epoch: int) -> UnitRunner:
        task, parts = self._work.task, self._parts
        ledger = RegistryLedger(
            parts.registry, task, self._work.unit, epoch=epoch, base=self.status.base, outbox=self.status.outbox
        )
        context = UnitContext(
            task=task,
            unit=self._work.unit,
            units_each=self._work.units_each,
            epoch=epoch,
            incarnation=parts.new_id(),
            secrets=await parts.secrets(task.id),
            ledger=ledger,
            shared=parts.shared(task.kind),
        )
        runner = self._job.runner(context)
        self.status.driving(runner, ledger)
        parts.meters.add(INCARNATIONS, 1, self._labels)
        return runner

    async def _drive(self, runner: UnitRunner) -> bool:
        """Run it; True if it returned by itself. After the stop signal it has its drain time and some seconds more, then it is
        cancelled; a lost epoch cancels it at once: a cancelled incarnation touches nothing any more, like a fenced one."""
        running = asyncio.create_task(runner.run(self._signal), name=f"unit {self._work.unit}")
        try:
            await _first(running, self._signal.wait(), self._lost.wait(), self._tell_when_working())
            if self._lost.is_set() and not running.done():
                raise Fenced("the registry has given the unit to somebody else")
            if not running.done():
                await self._drain(running)
            if running.done():
                await running
                return True
            return False
        finally:
            await self._end(running)

    async def _drain(self, running: asyncio.Task[None]) -> None:
        self.status.draining()
        limit = self._job.drain_timeout_s(self._work.task.config) + self._parts.drain_grace_s
        lost = asyncio.create_task(self._lost.wait())
        done, _ = await asyncio.wait({running, lost}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if not done:
            self.log.warning("the unit did not drain in time and is cancelled", cause=str(self._signal.cause), limit_s=limit)
            self.status.outbox.add(Level.WARNING, "drain_cut_short", f"{self._work.unit} did not drain within {limit:g} s")

    async def _end(self, running: asyncio.Task[None]) -> None:
        """Cancel what still runs. What does not even react to that is left behind, fenced by whoever comes next."""
        if not running.done():
            running.cancel()
            await asyncio.wait({running}, timeout=_CANCEL_WAIT_S)
        if not running.done():
            self.log.error("the unit does not react to being cancelled and is left behind")
        elif not running.cancelled() and running.exception() is not None:
            self.log.debug("the unit ended with an error", error=str(running.exception()))

    async def _tell_when_working(self) -> None:
        """Ends never by itself; the first poll beyond `starting` makes the reporter tell it at once."""
        while not self.status.reached_work():  # noqa: ASYNC110 progress() is all that a job has to tell with
            await asyncio.sleep(_STARTING_POLL_S)
        if self._attempts:
            self.log.info("unit works again", after_attempts=self._attempts)
        await asyncio.Event().wait()

    # -- ends ----------------------------------------------------------------------------------------------------------------
    async def _after_fenced(self, epoch: int | None, began: float) -> int | None:
        self._parts.meters.add(UNIT_ERRORS, 1, (*self._labels, Fenced.code))
        if self._signal.is_set():
            return None
        self._count_failure(began)
        self.status.retrying(self._reason(Fenced.code, "somebody newer may own the unit; asking the registry", None))
        self._parts.nudge()
        try:
            ours = epoch is not None and await self._parts.registry.unit_is_current(
                self._work.task.id, self._work.unit, epoch, self._work.task.run
            )
        except Retryable:
            ours = False
        self.log.info("unit fenced", epoch=epoch, still_ours=ours)
        await self._pause(self._parts.backoff(self._attempts))
        if not self._work.owned():
            raise _Ended(UnitState.UNASSIGNED)
        return epoch if ours else None

    async def _back_off(self, error: Retryable, began: float) -> None:
        if self._signal.is_set():
            self.log.warning("the unit stopped with an error", code=error.code, error=str(error))
            return
        self._count_failure(began)
        wait = REFUSED_WAIT_S if isinstance(error, AuthenticationFailed | TargetRefused) else self._parts.backoff(self._attempts)
        self._parts.meters.add(UNIT_ERRORS, 1, (*self._labels, error.code))
        reason = self._reason(error.code, str(error), self._parts.clock.now_ms() + int(wait * 1000))
        self.status.retrying(reason)
        if self._attempts == 1:
            self.status.outbox.add(Level.WARNING, error.code, str(error))
        self.log.warning("unit retries", code=error.code, error=str(error), attempts=self._attempts, wait_s=round(wait, 3))
        await self._pause(wait)

    async def _fail_task(self, error: Fatal) -> None:
        """FAILED must reach the registry, else nobody drains the other units: again until it is there, or we are stopped."""
        task = self._work.task
        if self._cause is not None:  # it happened while draining: the task is to stop anyway, and the next start will tell
            self.log.error("the unit stopped with an error", code=error.code, error=str(error))
            return
        self._failing_since, self._attempts = self._parts.clock.now_ms(), 1
        reason = self._reason(error.code, str(error), None)
        self.log.error("the task fails", code=error.code, error=str(error))
        self.status.outbox.add(Level.ERROR, error.code, str(error))
        self.status.retrying(reason)
        attempt = 0
        while self._cause is None:
            try:
                await self._parts.registry.fail_task(task.id, task.run, task.revision, reason)
            except Retryable:
                attempt += 1
                await self._pause(self._parts.backoff(attempt))
            else:
                self._parts.nudge()
                raise _Ended(UnitState.FAILED, reason)
        raise _Ended(UnitState.FAILED, reason)

    def _count_failure(self, began: float) -> None:
        """A failure after a good while is the first of a new row."""
        clock = self._parts.clock
        if self._attempts == 0 or clock.monotonic() - began >= CURED_AFTER_S:
            self._attempts, self._failing_since = 0, clock.now_ms()
        self._attempts += 1

    def _reason(self, code: str, message: str, next_try_at: int | None) -> Reason:
        since = self._failing_since or self._parts.clock.now_ms()
        return Reason(code, message, since, max(1, self._attempts), next_try_at, str(self._work.unit))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


class _Ended(Exception):
    """No further incarnation here; ends the loop of `run`."""

    def __init__(self, state: UnitState, reason: Reason | None = None) -> None:
        super().__init__(state)
        self.state = state
        self.reason = reason


def _internal_error() -> Retryable:
    return Retryable("unexpected error in this service; its log has the details, please report them", code="internal_error")


async def _first(task: asyncio.Task[None], *others: Coroutine[Any, Any, object]) -> None:
    """Return when the task or the first of the others is done; the others end with that."""
    watchers = {asyncio.create_task(other) for other in others}
    try:
        await asyncio.wait({task, *watchers}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.wait(watchers)
