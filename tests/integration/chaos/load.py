"""The load under which a chaos run plays its faults: plain, committed and aborted records for every partition, burst after burst.

Guarantees that what it has written is known at any moment between two bursts (`writer.expected`), that it never runs far ahead of what the
dump makes visible, however slow the machine, that it can be kept quiet for as long as a play needs silence, and that a writer that failed
fails the run. Used by the chaos run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from confluent_kafka import Consumer, TopicPartition

from tests.support.records import Outcome, RecordWriter

_PACE_S = 0.5
_TIMEOUT_S = 60.0
_IN_TRANSACTION = 20
_AHEAD = 8


class Load:
    """A burst is one object's records and two small transactions for each partition. `visible` tells how many objects there are: all of
    them, also those of which nobody alive knows, else the load stops once enough answers were lost."""

    def __init__(self, writer: RecordWriter, servers: str, partitions: int, of_object: int, visible: Callable[[], int]) -> None:
        self.writer = writer
        self._servers, self._partitions, self._of_object, self._visible = servers, partitions, of_object, visible
        self._bursts = 0
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bursts come one after the other inside; afterwards everything is acknowledged and no transaction is open."""
        stop = asyncio.Event()
        writing = asyncio.create_task(self._write_until(stop))
        try:
            yield
        finally:
            stop.set()
            await writing

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Nothing is written inside."""
        async with self._turn:
            yield

    async def end_offsets(self) -> int:
        """The ends of all partitions, added; markers and aborted records count, as they do for positions."""
        return await asyncio.to_thread(self._end_offsets)

    async def burst(self) -> None:
        """One burst, now, however far ahead."""
        async with self._turn:
            await self.writer.write(self._of_object)
            await self.writer.write_transaction(_IN_TRANSACTION)
            await self.writer.write_transaction(_IN_TRANSACTION, Outcome.ABORT)
            self._bursts += 1

    async def _write_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self._is_far_ahead():
                await self.burst()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PACE_S)

    def _is_far_ahead(self) -> bool:
        written = self._bursts * self._partitions * (self._of_object + _IN_TRANSACTION) / self._of_object
        return written - self._visible() > _AHEAD * self._partitions

    def _end_offsets(self) -> int:
        settings: dict[str, str | int | bool] = {"bootstrap.servers": self._servers, "group.id": "reads-ends", "log_level": 0}
        consumer = Consumer(settings)
        try:
            total = 0
            for number in range(self._partitions):
                watermarks = consumer.get_watermark_offsets(TopicPartition(self.writer.topic, number), timeout=_TIMEOUT_S)
                assert watermarks is not None, f"partition {number} did not tell its end"
                total += watermarks[1]
            return total
        finally:
            consumer.close()
