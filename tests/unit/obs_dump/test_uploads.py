"""An object is whole when every part has its ETag, and not when nobody waits for one any more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, cast

from smartconnect.domain.clock import Clock
from smartconnect.jobs.obs_dump.buffer import PagedPool
from smartconnect.jobs.obs_dump.places import UploadPlaces
from smartconnect.jobs.obs_dump.steps import IncarnationSteps
from smartconnect.jobs.obs_dump.store_calls import StoreCalls
from smartconnect.jobs.obs_dump.uploads import Leaving, ObjectUpload, UploadTools, WishedName
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import BlockWriter
from smartconnect.objectstore import NoSuchUpload, ObjectStore, Part


class Store:
    """Answers Create when it is let to; the parts in `gone` find no upload."""

    def __init__(self) -> None:
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.gone: set[int] = set()

    async def create_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        self.asked.set()
        await self.answers.wait()
        return "upload-1"

    async def upload_part(self, key: str, upload_id: str, number: int, blocks: Any, crc32c: int) -> Part:
        if number in self.gone:
            raise NoSuchUpload(f"{upload_id} is gone")
        return Part(number, f'"{number}"', sum(map(len, blocks)), None)


class Steps:
    def note(self, *_: object, **__: object) -> None:
        """Nothing of this is looked at here."""


class Given:
    def __init__(self) -> None:
        self.store, self.pool = Store(), PagedPool()
        self.failures: list[Exception] = []
        places = UploadPlaces(4).join()
        calls = StoreCalls(Clock(), Random(1), places)
        store, steps = cast(ObjectStore, self.store), cast(IncarnationSteps, Steps())
        self.tools = UploadTools(store, calls, places, self.pool, steps, set(), Leaving())
        name = WishedName("dump/orders", {}, may_be_taken=False)
        self.upload = ObjectUpload(self.tools, TopicPartition("orders", 0), name, self.failures.append)

    def part(self, content: bytes) -> None:
        writer = BlockWriter(self.pool)
        writer.write(content)
        self.upload.add_part(writer.take())


async def test_an_object_is_whole_when_every_part_has_its_etag() -> None:
    given = Given()
    given.store.answers.set()
    given.part(b"one\n")
    given.part(b"two\n")
    assert await given.upload.all_sent()
    assert [part.number for part in given.upload.ordered_parts()] == [1, 2]
    assert given.pool.out_bytes == given.tools.leaving.nbytes == 0


async def test_an_object_that_was_forgotten_on_its_way_is_not_whole() -> None:
    given = Given()
    given.part(b"one\n")
    waiting = asyncio.ensure_future(given.upload.all_sent())
    await given.store.asked.wait()
    given.upload.forget()
    assert not await waiting
    assert given.failures == []
    assert given.pool.out_bytes == given.tools.leaving.nbytes == 0


async def test_an_object_that_was_forgotten_as_its_last_etag_came_is_not_whole() -> None:
    given = Given()
    given.store.answers.set()
    given.part(b"one\n")
    assert await given.upload.all_sent()
    waiting = asyncio.ensure_future(given.upload.all_sent())
    given.upload.forget()
    assert not await waiting


async def test_an_object_that_has_lost_a_part_is_not_whole() -> None:
    given = Given()
    given.store.answers.set()
    given.store.gone.add(2)
    given.part(b"one\n")
    given.part(b"two\n")
    assert not await given.upload.all_sent()
    assert [type(failure) for failure in given.failures] == [NoSuchUpload]
