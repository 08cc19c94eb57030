"""`TaskControl` is everything a user can ask for, whatever the interface: the API and the console call it and nothing else. Each call
checks in the order of api.md §2, changes either everything or nothing, and leaves its audit event. Raises `Refusal` for what the
caller did wrong, RegistryUnreachable when the registry does not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from smartconnect.control import codes, creation, modification, validation
from smartconnect.control.actions import Action, decide
from smartconnect.control.audit import Trail, audited
from smartconnect.control.call import BodyReader, CallContext, ControlParts
from smartconnect.control.connector import disable, enable
from smartconnect.control.lookup import Found, find, is_uuid, not_found, require_enabled
from smartconnect.control.paging import Page, partition_page, task_page
from smartconnect.control.ports import ConnectorState, ProgressRows, StaleTask
from smartconnect.control.progress_view import ProgressView, progress_view
from smartconnect.control.refusals import Refusal
from smartconnect.control.sealed import require_openable_secrets
from smartconnect.control.shown import ShownTask, TaskPage, shown_task
from smartconnect.domain.task import Desired

Result = TypeVar("Result")

ATTEMPTS = 20
"""How often a call decides again because the task changed between its read and its write."""


class TaskControl:
    """One for the process; safe to call concurrently."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    async def create(self, call: CallContext, read_body: BodyReader) -> ShownTask:
        async with audited(self._parts, call, "createConnectorTask") as trail:
            await require_enabled(self._parts, call)
            found = await creation.create(self._parts, call, read_body())
            trail.task_id = found.task.id
            return shown_task(found)

    async def list(self, call: CallContext, *, offset: str | None, limit: str | None) -> TaskPage:
        """`offset`, `limit`: the query's own text, None if absent."""
        try:
            page = task_page(offset, limit)
        except Refusal:
            await require_enabled(self._parts, call)
            raise
        rows, total = await self._parts.store.list_tasks(call.instance.id, page.offset, page.limit)
        if not total:
            await require_enabled(self._parts, call)
        found = (Found(task=task, job=self._parts.jobs[task.kind], units_stopped=stopped) for task, stopped in rows)
        return TaskPage([shown_task(each) for each in found], total, self._parts.policy().max_tasks)

    async def show(self, call: CallContext, task_id: str) -> ShownTask:
        return shown_task(await find(self._parts, call, task_id))

    async def modify(self, call: CallContext, task_id: str, read_body: BodyReader) -> ShownTask:
        async with audited(self._parts, call, "putConnectorTask", task_id):

            async def change(found: Found) -> ShownTask:
                return shown_task(await modification.modify(self._parts, call, found, read_body()))

            return await self._decide_until_written(call, task_id, change)

    async def pause(self, call: CallContext, task_id: str) -> None:
        """Units drain, then the task is PAUSED; a paused task stays as it is."""
        await self._act(call, task_id, Action.PAUSE)

    async def resume(self, call: CallContext, task_id: str) -> None:
        """The same run goes on from its stored positions."""
        await self._act(call, task_id, Action.RESUME)

    async def restart(self, call: CallContext, task_id: str) -> None:
        """A new run begins, or the first one of a task created with `start_later`."""
        await self._act(call, task_id, Action.RESTART)

    async def delete(self, call: CallContext, task_id: str) -> None:
        """Gone from show and list at once; the engine cleans up."""
        await self._act(call, task_id, Action.DELETE)

    async def progress(
        self, call: CallContext, task_id: str, *, offset: str | None, limit: str | None, topic: str | None
    ) -> ProgressView:
        """From the registry alone; `offset` and `limit` page the partitions, `topic` (None or "": all) selects them."""
        try:
            page = partition_page(offset, limit)
        except Refusal:
            await find(self._parts, call, task_id)
            raise
        rows = await self._progress_rows(call, task_id, page, topic or None)
        if rows is None:
            raise await not_found(self._parts, call, task_id)
        return progress_view(rows, self._parts.clock.now_ms())

    async def _progress_rows(self, call: CallContext, task_id: str, page: Page, topic: str | None) -> ProgressRows | None:
        if not is_uuid(task_id):
            return None
        rows = await self._parts.store.progress(task_id.lower(), offset=page.offset, limit=page.limit, topic=topic)
        return rows if rows is not None and rows.task.instance_id == call.instance.id else None

    async def validate(self, call: CallContext, read_body: BodyReader) -> None:
        """Live checks of one side's fields, without a task."""
        async with audited(self._parts, call, "ValidateConnectorConnectivity"):
            await require_enabled(self._parts, call)
            await validation.validate(self._parts, call, read_body())

    async def enable(self, call: CallContext, read_body: BodyReader) -> ConnectorState:
        async with audited(self._parts, call, "CreateConnector"):
            return await enable(self._parts, call, read_body)

    async def disable(self, call: CallContext) -> None:
        async with audited(self._parts, call, "DeleteConnector"):
            await disable(self._parts, call)

    async def connector(self, call: CallContext) -> ConnectorState:
        """Whether Smart Connect is enabled for the instance; never refuses."""
        return await self._parts.store.connector(call.instance.id, call.instance.connector_enabled)

    def new_job_id(self) -> str:
        """The id of a background job that is finished when it is returned."""
        return self._parts.new_id()

    async def _act(self, call: CallContext, task_id: str, action: Action) -> None:
        async with audited(self._parts, call, action, task_id) as trail:

            async def act(found: Found) -> None:
                await self._act_on(found, action, trail)

            await self._decide_until_written(call, task_id, act)

    async def _act_on(self, found: Found, action: Action, trail: Trail) -> None:
        change = decide(action, found.task, units_stopped=found.units_stopped)
        if change is None:
            return
        if change.desired is Desired.RUNNING:
            refused = codes.RESTART_FAILED if action is Action.RESTART else codes.RESUME_FAILED
            await require_openable_secrets(self._parts, found.task, refused)
            missing = found.job.missing(found.task.config)
            if missing:
                raise Refusal(refused, missing)
        task = await self._parts.store.update_task(found.task, change)
        trail.details = f"run {task.run}" if change.new_run else ""
        self._parts.nudge()

    async def _decide_until_written(self, call: CallContext, task_id: str, attempt: Callable[[Found], Awaitable[Result]]) -> Result:
        """Find the task and decide on it, again if somebody changed it between the read and the write."""
        for _ in range(ATTEMPTS):
            found = await find(self._parts, call, task_id)
            try:
                return await attempt(found)
            except StaleTask:
                continue
        raise StaleTask(f"task {task_id} changed {ATTEMPTS} times while one call decided on it")
