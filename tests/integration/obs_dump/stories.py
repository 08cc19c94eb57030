"""What the dump's stories have in common: how far a dump has got, as its user sees it, and records that keep coming meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from tests.support.records import RecordWriter
from tests.support.service import Dump
from tests.support.waiting import eventually

_PACE_S = 0.1


async def delivered(dump: Dump, records: int, within_s: float = 60) -> None:
    """Until so many records are in the bucket: by the counter, which forgets what a killed process had not reported, or by the positions,
    which are reported less often. Offsets must be those of records (no transactions, nothing compacted)."""

    async def are() -> bool:
        return await published(dump) >= records or await _positions(dump) >= records

    await eventually(are, within_s, what=f"{records} records are delivered")


async def _positions(dump: Dump) -> int:
    return sum(partition["position"] or 0 for partition in (await dump.progress())["partitions"])


async def published(dump: Dump) -> int:
    """How many records of the run are visible."""
    return int((await dump.progress())["counters"]["records_out"])


async def has_read(dump: Dump, records: int, within_s: float = 60) -> None:
    """Until so many records of the run were read from Kafka; objects need not be due yet."""

    async def has() -> bool:
        return bool((await dump.progress())["counters"]["records_in"] >= records)

    await eventually(has, within_s, what=f"{records} records were read")


async def drained_at(dump: Dump, offsets: int) -> None:
    """Pause when the positions together are `offsets`, all that was written: a pause that came too early is taken back. (Units that were
    killed just before it have reported less than they had done, so that less is left to read than it seems: then the interval ends it.)"""
    await dump.drained()
    while missing := offsets - await _positions(dump):
        assert missing > 0, f"the positions are {-missing} beyond what was written"
        wanted = (await dump.progress())["counters"]["records_in"] + missing

        async def read(wanted: int = wanted) -> bool:
            return await _positions(dump) == offsets or (await dump.progress())["counters"]["records_in"] >= wanted

        await dump.act("resume")
        await eventually(read, 120, what=f"the last {missing} records were read")
        await dump.drained()


async def trouble(dump: Dump) -> dict[str, object] | None:
    """The reason that progress shows while the dump is `retrying`."""
    progress = await dump.progress()
    return progress["reason"] if progress["health"] == "retrying" else None


@contextlib.asynccontextmanager
async def steady_load(writer: RecordWriter, count: int, partitions: Sequence[int] | None = None) -> AsyncIterator[None]:
    """`count` records to each partition, ten times a second or as fast as the broker takes them, while the context is open."""
    ended = asyncio.Event()

    async def write() -> None:
        while not ended.is_set():
            await writer.write(count, partitions)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _PACE_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        try:
            yield
        finally:
            ended.set()
