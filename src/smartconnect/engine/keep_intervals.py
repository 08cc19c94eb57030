"""How often the positions of each resting task have to be committed again. The job must ask the cluster for that (its retention), so
it is asked in the background and remembered; the reconciler never waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.task import Task
from smartconnect.engine.parts import EngineParts
from smartconnect.telemetry.logs import get_logger

log = get_logger()

FRESH_S: Final = 3600.0
ASK_WITHIN_S: Final = 60.0


class KeepIntervals:
    """`interval_ms` answers at once; None until it is known, and then nothing is due."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._known: dict[str, tuple[float, int]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def interval_ms(self, task: Task) -> int | None:
        known = self._known.get(task.id)
        stale = known is None or self._parts.clock.monotonic() - known[0] > FRESH_S
        if stale and task.id not in self._asking:
            asking = asyncio.create_task(self._ask(task), name=f"keep interval of {task.id}")
            self._asking[task.id] = asking
            asking.add_done_callback(lambda _: self._asking.pop(task.id, None))
        return None if known is None else known[1]

    def keep_only(self, task_ids: Collection[str]) -> None:
        """Forget the others: they do not rest any more."""
        for task_id in [task_id for task_id in self._known if task_id not in task_ids]:
            del self._known[task_id]
        for task_id, asking in self._asking.items():
            if task_id not in task_ids:
                asking.cancel()

    async def _ask(self, task: Task) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(ASK_WITHIN_S):
                    seconds = await self._parts.jobs[task.kind].keep_alive_interval_s(task)
            except (SmartConnectError, TimeoutError) as error:
                log.info("how often to keep a task alive is not known yet", task=task.id, error=str(error))
            except Exception:
                log.exception("asking for the keep-alive interval failed", task=task.id)
            else:
                self._known[task.id] = self._parts.clock.monotonic(), int(seconds * 1000)
                self._parts.nudge()
                return
            failures += 1
            await asyncio.sleep(self._parts.backoff(failures + 4))
