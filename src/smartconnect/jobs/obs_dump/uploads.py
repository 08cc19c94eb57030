"""One object on its way into the store: its name, its multipart upload, its parts. Nothing of it is visible before Complete, which is not
made here (obs-dump.md §2: P1 ends where this ends).

The upload is created with the first part, so that an object below one part costs three requests, and so that its metadata can tell the
end of its range. Parts leave in any order; their memory goes back to the pool when their ETag is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from smartconnect.jobs.obs_dump.buffer import PagedPool
from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.naming import nth_name
from smartconnect.jobs.obs_dump.places import UnitPlaces
from smartconnect.jobs.obs_dump.steps import IncarnationSteps, Outcome, Step
from smartconnect.jobs.obs_dump.store_calls import StoreCalls
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Taken
from smartconnect.objectstore import NoSuchUpload, ObjectStore, Part, StoreBusy

_R = TypeVar("_R")


class Leaving:
    """Bytes of a unit's parts that have left their objects and are not yet in the store."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._fewer = asyncio.Event()

    def begin(self, nbytes: int) -> None:
        self.nbytes += nbytes

    def end(self, nbytes: int) -> None:
        """They are there, or were given up."""
        self.nbytes -= nbytes
        self._fewer.set()

    async def fewer(self) -> None:
        """Wait until the next part has ended."""
        self._fewer.clear()
        await self._fewer.wait()


@dataclass(frozen=True, slots=True)
class UploadTools:
    """What all uploads of a unit share. `running`: objects on their way, until they are visible or given up; the janitor leaves them
    alone."""

    store: ObjectStore
    calls: StoreCalls
    places: UnitPlaces
    pool: PagedPool
    steps: IncarnationSteps
    running: set[ObjectUpload]
    leaving: Leaving

    async def live_ids(self) -> set[str]:
        """Ids of our uploads on their way, when every Create that is on the wire now has been answered."""
        created = [upload.creating for upload in self.running if upload.creating is not None]
        await asyncio.gather(*(asyncio.shield(task) for task in created), return_exceptions=True)
        return {upload.upload_id for upload in self.running}

    async def close(self) -> None:
        """Stop whatever is on the wire; what it reached in the store is left as it is."""
        tasks = [task for upload in tuple(self.running) for task in upload.forget()]
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class WishedName:
    """The name an object should get, whether something older may have it, and the user metadata of the object."""

    key: str
    metadata: Mapping[str, str]
    may_be_taken: bool


class ObjectUpload:
    """With `may_be_taken` the name is looked up first and the next free one used. Metadata that only the whole object can tell (`sc-end`,
    `sc-count`) is given with a first part that is also the last.
    `on_failure` hears of the first error of any part: NoSuchUpload and other refusals, in the event loop."""

    def __init__(self, tools: UploadTools, tp: TopicPartition, name: WishedName, on_failure: Callable[[Exception], None]) -> None:
        self.tp = tp
        self.key = name.key
        self.upload_id = ""
        self.parts: dict[int, Part] = {}
        self._tools, self._name, self._on_failure = tools, name, on_failure
        self._metadata = dict(name.metadata)
        self.creating: asyncio.Task[None] | None = None  # the Create, once it was begun
        self._tasks: list[asyncio.Task[None]] = []
        self._failed = False
        tools.running.add(self)

    def add_part(self, taken: Taken, whole: Mapping[str, str] | None = None) -> None:
        """Begin to upload the next part; its memory is given back whatever happens. `whole`: metadata to add if this part is all."""
        number = len(self._tasks) + 1
        if self.creating is None:
            self._metadata.update(whole or {})
            self.creating = asyncio.ensure_future(self._create())
        nbytes = sum([len(view) for view in taken.views])
        task = asyncio.ensure_future(self._send(number, taken))
        self._tools.leaving.begin(nbytes)
        task.add_done_callback(lambda task: self._part_ended(task, taken.views, nbytes))
        self._tasks.append(task)

    async def all_sent(self) -> bool:
        """Wait for every ETag; False if a part failed (`on_failure` has heard of it), or if the object was forgotten meanwhile."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return not self._failed and self in self._tools.running

    def ordered_parts(self) -> list[Part]:
        return [self.parts[number] for number in sorted(self.parts)]

    def entry(self, bucket: str, start: int, end: int) -> Entry:
        """The promise of this upload, once every part has its ETag."""
        size = sum(part.size for part in self.parts.values())
        return Entry(bucket, self.key, self.upload_id, len(self.parts), size, start, end)

    def forget(self) -> list[asyncio.Task[None]]:
        """The object is not on its way any more: visible, or given up and left to the janitor. The tasks that this cancels."""
        self._tools.running.discard(self)
        tasks = [task for task in (*self._tasks, self.creating) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        return tasks

    def _part_ended(self, task: asyncio.Task[None], views: list[memoryview], nbytes: int) -> None:
        # Here and not in the task, which may be cancelled before it has begun.
        self._tools.pool.release(views)
        self._tools.leaving.end(nbytes)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed:
            self._failed = True
            assert isinstance(error, Exception)
            self._on_failure(error)

    async def _send(self, number: int, taken: Taken) -> None:
        assert self.creating is not None
        await asyncio.shield(self.creating)
        self.parts[number] = await self._tools.calls.until_answered(lambda: self._put(number, taken))

    async def _create(self) -> None:
        tools = self._tools
        if self._name.may_be_taken:
            await self._find_free_name()

        async def create() -> str:
            return await self._logged(Step.CREATE_UPLOAD, lambda: tools.store.create_upload(self.key, self._metadata))

        self.upload_id = await tools.calls.control(create)

    async def _find_free_name(self) -> None:
        """Never overwrite: the first of key, key+2, key+3 … that does not exist."""
        tools, wished, number = self._tools, self.key, 1
        while await tools.calls.control(lambda: tools.store.head(self.key)) is not None:
            number += 1
            self.key = nth_name(wished, number)

    async def _put(self, number: int, taken: Taken) -> Part:
        async with self._tools.places.place():
            return await self._logged(
                Step.UPLOAD_PART, lambda: self._tools.store.upload_part(self.key, self.upload_id, number, *taken)
            )

    async def _logged(self, step: Step, call: Callable[[], Awaitable[_R]]) -> _R:
        note, partition = self._tools.steps.note, str(self.tp)
        note(step, Outcome.SENT, partition=partition, upload=self.upload_id)
        try:
            result = await call()
        except NoSuchUpload:
            note(step, Outcome.GONE, partition=partition, upload=self.upload_id)
            raise
        except StoreBusy:
            note(step, Outcome.LOST, partition=partition, upload=self.upload_id)
            raise
        note(step, Outcome.OK, partition=partition, upload=result if isinstance(result, str) else self.upload_id)
        return result
