"""The tasks that work for one incarnation. The first one that fails ends the incarnation with its error; closing cancels them all.

Not asyncio.TaskGroup: the incarnation's loop must see a failure between two steps of its own (it may hold a fetched frame), and the error
that counts is one error of our tree, not a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from smartconnect.domain.errors import Fenced


class Crew:
    """An incarnation's background work, until `close`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.failed = asyncio.Event()

    def spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run `work` beside the incarnation."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def check(self) -> None:
        """Raise what the first failed task raised, if one did."""
        if self._failure is not None:
            raise self._failure

    def fail(self, error: BaseException) -> None:
        """End the incarnation with `error`. Being fenced outweighs everything else: nothing may be touched after it."""
        if self._failure is None or isinstance(error, Fenced):
            self._failure = error
        self.failed.set()

    async def wait_for(self, awaited: Coroutine[object, object, None], timeout: float | None = None) -> None:
        """Await something, but no longer than until a task has failed; then raise its error. TimeoutError after `timeout`."""
        waiting = asyncio.ensure_future(awaited)
        failed = asyncio.ensure_future(self.failed.wait())
        try:
            done, _ = await asyncio.wait({waiting, failed}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            self.check()
            if waiting not in done:
                raise TimeoutError
            waiting.result()
        finally:
            for future in (waiting, failed):
                future.cancel()
            await asyncio.gather(waiting, failed, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all of them, and wait until they have ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
