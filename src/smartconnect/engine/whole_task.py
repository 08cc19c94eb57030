"""What is done once for a whole task by the worker that owns the task's home slot: planning, and the end of deleting. Each task has at
most one such work here, in an asyncio task of its own; it is retried until it is done or not wanted any more. If two workers ever do
the same, the registry lets the first one count.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from typing import Any, Final

from smartconnect.domain.errors import Fatal, RegistryUnreachable, Retryable, SmartConnectError
from smartconnect.domain.planning import UnitName
from smartconnect.domain.task import Reason, Task
from smartconnect.engine.decide import expired
from smartconnect.engine.parts import EngineParts
from smartconnect.engine.ports import WantedTask
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.names import PLANNING_ERRORS

log = get_logger()

PLAN_WITHIN_S: Final = 60.0
FINISH_WITHIN_S: Final = 120.0


class WholeTaskWorks:
    """`plan` and `finish` start a work unless the same one is on its way; `keep_only` cancels those not wanted any more."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._works: dict[str, tuple[str, asyncio.Task[None]]] = {}

    def plan(self, task: Task) -> None:
        self._start(task.id, f"plan {task.run}.{task.revision}", self._plan(task))

    def finish(self, wanted: WantedTask) -> None:
        self._start(wanted.task.id, "finish", self._finish(wanted))

    def keep_only(self, task_ids: Collection[str]) -> None:
        for task_id in [task_id for task_id in self._works if task_id not in task_ids]:
            self._works.pop(task_id)[1].cancel()

    def busy(self, task_id: str) -> bool:
        work = self._works.get(task_id)
        return work is not None and not work[1].done()

    async def close(self) -> None:
        works = [work for _, work in self._works.values()]
        self.keep_only(())
        if works:
            await asyncio.wait(works, timeout=5)

    def _start(self, task_id: str, name: str, work: Coroutine[Any, Any, None]) -> None:
        now = self._works.get(task_id)
        if now is not None and now[0] == name and not now[1].done():
            work.close()
            return
        if now is not None:
            now[1].cancel()
        self._works[task_id] = name, asyncio.create_task(work, name=f"{name} of {task_id}")

    async def _plan(self, task: Task) -> None:
        failures, since = 0, self._parts.clock.now_ms()
        while True:
            try:
                async with asyncio.timeout(PLAN_WITHIN_S):
                    stored = await self._plan_once(task)
            except Fatal as error:
                reason = Reason(error.code, str(error), since, failures + 1)
                await self._note_failure(task, reason)
                if await self._failed(task, reason):
                    return
            except SmartConnectError as error:
                await self._note_failure(task, Reason(error.code, str(error), since, failures + 1))
            except TimeoutError:
                late = f"planning did not end within {PLAN_WITHIN_S:g} s"
                await self._note_failure(task, Reason(Retryable.code, late, since, failures + 1))
            except Exception:
                log.exception("planning ended with an unexpected error", task=task.id)
                bug = Reason(SmartConnectError.code, "unexpected error, see the log", since, failures + 1)
                await self._note_failure(task, bug)
            else:
                log.info("task planned", task=task.id, run=task.run, revision=task.revision, stored=stored)
                if stored:  # else somebody was first, or the task has moved on: the next look shows which
                    self._parts.nudge()
                return
            failures += 1
            await asyncio.sleep(self._parts.backoff(failures))

    async def _plan_once(self, task: Task) -> bool:
        registry = self._parts.registry
        known = await registry.known_starts(task.id, task.run)
        facts = await registry.latest_facts(task.id, task.run)
        secrets = await self._parts.secrets(task.id)
        planned = await self._parts.jobs[task.kind].plan(task, secrets, known, facts)
        return await registry.store_plan(task, planned)

    async def _failed(self, task: Task, reason: Reason) -> bool:
        try:
            await self._parts.registry.fail_task(task.id, task.run, task.revision, reason)
        except Retryable:
            return False
        self._parts.nudge()
        return True

    async def _note_failure(self, task: Task, reason: Reason) -> None:
        """Where the user sees it: a task without units has nobody else to report it."""
        self._parts.meters.add(PLANNING_ERRORS, 1, (task.id, reason.code))
        log.warning(
            "planning failed; it is tried again", task=task.id, code=reason.code, error=reason.message, failures=reason.attempts
        )
        with contextlib.suppress(RegistryUnreachable):
            await self._parts.registry.note_planning_failure(task, reason)

    async def _finish(self, wanted: WantedTask) -> None:
        """Every unit is gone, or 7 days are over: what belongs to the whole task goes, then its rows. The audit tells what stays."""
        task, failures = wanted.task, 0
        units = [unit.name for unit in wanted.units]
        left = [unit.name for unit in wanted.units if not unit.gone]
        while True:
            error = await self._clean_task(task, units)
            if error is None or expired(wanted, self._parts.clock.now_ms()):
                try:
                    await self._parts.registry.remove_task(task.id, _details(left, error))
                except Retryable as outage:
                    error = str(outage)
                else:
                    log.info("deleted task removed", task=task.id, left=[str(name) for name in left], error=error)
                    self._parts.nudge()
                    return
            failures += 1
            log.warning("cleaning up failed; it is tried again", task=task.id, error=error, failures=failures)
            await asyncio.sleep(self._parts.backoff(failures))

    async def _clean_task(self, task: Task, units: Collection[UnitName]) -> str | None:
        try:
            secrets = await self._parts.secrets(task.id)
            async with asyncio.timeout(FINISH_WITHIN_S):
                await self._parts.jobs[task.kind].clean_task(task, secrets, list(units))
        except SmartConnectError as error:
            return str(error)
        except TimeoutError:
            return f"cleaning up did not end within {FINISH_WITHIN_S:g} s"
        except Exception:
            log.exception("cleaning up ended with an unexpected error", task=task.id)
            return "unexpected error, see the log"
        return None


def _details(left: Collection[UnitName], error: str | None) -> str:
    if not left and error is None:
        return ""
    stays = f"units not cleaned up: {', '.join(str(name) for name in left)}; " if left else ""
    return f"given up after 7 days; {stays}{error or 'what they had prepared stays invisible in the target'}"
