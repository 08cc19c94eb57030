"""The checks that every task call begins with: connector enabled, form of the task id, task; the first that fails answers (api.md §2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smartconnect.control import codes
from smartconnect.control.call import CallContext, ControlParts
from smartconnect.control.refusals import Refusal
from smartconnect.domain.task import Status, Task, shown_status
from smartconnect.engine.job import Job

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_uuid(text: str) -> bool:
    """8-4-4-4-12 hexadecimal digits of either case."""
    return _UUID.fullmatch(text.lower()) is not None


@dataclass(frozen=True, slots=True)
class Found:
    """A task, its job, and whether all its units have stopped."""

    task: Task
    job: Job
    units_stopped: bool

    @property
    def status(self) -> Status:
        return shown_status(self.task, units_stopped=self.units_stopped)


async def require_enabled(parts: ControlParts, call: CallContext) -> None:
    """Refuse if Smart Connect is not enabled for the instance."""
    state = await parts.store.connector(call.instance.id, call.instance.connector_enabled)
    if not state.enabled:
        raise Refusal(codes.CONNECTOR_MISSING)


async def find(parts: ControlParts, call: CallContext, task_id: str) -> Found:
    """The task, or the refusal that applies first. An instance with a task is enabled: so one look at the registry is enough for it."""
    row = await parts.store.find_task(call.instance.id, task_id.lower()) if is_uuid(task_id) else None
    if row is None:
        raise await not_found(parts, call, task_id)
    task, units_stopped = row
    return Found(task=task, job=parts.jobs[task.kind], units_stopped=units_stopped)


async def not_found(parts: ControlParts, call: CallContext, task_id: str) -> Refusal:
    """Why there is no task of this id."""
    await require_enabled(parts, call)
    return Refusal(codes.NO_SUCH_TASK if is_uuid(task_id) else codes.TASK_ID_FORM)
