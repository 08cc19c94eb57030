"""Making a prepared upload visible, whoever prepared it (obs-dump.md §2 P3, §3 Finish). Repeatable: a second Complete of the same upload,
by a zombie or after a lost answer, changes nothing.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.steps import IncarnationSteps, Outcome, Step
from smartconnect.jobs.obs_dump.store_calls import StoreCalls
from smartconnect.objectstore import InvalidPart, NoSuchUpload, ObjectStore, Part, StoreBusy

_R = TypeVar("_R")
_AGAIN_S = 1.0


class Finished(enum.Enum):
    """How an entry ended: the object is visible, or its upload is gone and the object is not there."""

    VISIBLE = enum.auto()
    LOST = enum.auto()


class Finisher:
    """`task_id` is what the object's metadata must say for it to be ours."""

    def __init__(self, store: ObjectStore, calls: StoreCalls, steps: IncarnationSteps, task_id: str) -> None:
        self._store, self._calls, self._steps, self._task_id = store, calls, steps, task_id

    async def finish(self, entry: Entry, run: int, partition: str, parts: Sequence[Part] | None) -> Finished:
        """Complete the upload; `parts` are its ETags if this incarnation uploaded them. Ends only with an answer."""
        while True:
            listed = parts is None
            try:
                if parts is None:
                    parts = await self._calls.control(lambda: self._store.list_parts(entry.key, entry.upload))
                    if len(parts) != entry.parts or sum(part.size for part in parts) != entry.size:
                        return await self._look(entry, run, partition)
                await self._complete(entry, run, partition, parts)
            except InvalidPart:
                # a part that was sent twice may have another ETag than the one we remember; its bytes are the same
                parts = None
                await asyncio.sleep(_AGAIN_S if listed else 0)
            except NoSuchUpload:
                return await self._look(entry, run, partition)
            else:
                return Finished.VISIBLE

    async def _complete(self, entry: Entry, run: int, partition: str, parts: Sequence[Part]) -> None:
        async def complete() -> None:
            await self._logged(
                Step.COMPLETE, entry, run, partition, lambda: self._store.complete_upload(entry.key, entry.upload, parts)
            )

        await self._calls.control(complete)

    async def _look(self, entry: Entry, run: int, partition: str) -> Finished:
        """The upload is gone: is its object there?"""
        self._steps.note_run(run, Step.HEAD_OBJECT, Outcome.SENT, partition=partition, upload=entry.upload)
        found = await self._calls.control(lambda: self._store.head(entry.key))
        ours = {"sc-task": self._task_id, "sc-run": str(run), "sc-start": str(entry.start)}
        visible = (
            found is not None
            and found.size == entry.size
            and all(found.metadata.get(name) == value for name, value in ours.items())
        )
        outcome = Outcome.OK if visible else Outcome.GONE
        self._steps.note_run(run, Step.HEAD_OBJECT, outcome, partition=partition, upload=entry.upload)
        return Finished.VISIBLE if visible else Finished.LOST

    async def _logged(self, step: Step, entry: Entry, run: int, partition: str, call: Callable[[], Awaitable[_R]]) -> _R:
        def note(outcome: Outcome) -> None:
            self._steps.note_run(run, step, outcome, partition=partition, upload=entry.upload)

        note(Outcome.SENT)
        try:
            result = await call()
        except NoSuchUpload:
            note(Outcome.GONE)
            raise
        except InvalidPart:
            note(Outcome.REFUSED)
            raise
        except StoreBusy:
            note(Outcome.LOST)
            raise
        note(Outcome.OK)
        return result
