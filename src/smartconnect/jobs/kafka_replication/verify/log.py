"""One partition's log as `verify` reads it: sums over ranges of those records that count, in ascending order. One small fetch at a time: it
must not disturb the live task, and its memory is a few answers, whatever the length of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from smartconnect.domain.errors import SmartConnectError
from smartconnect.jobs.unlimited import Unlimited
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions, Frame
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import NO_RECORDS, Batch, DigestPlan, KernelError, Kind, RangeDigest, Scratch, check, digest, walk

Keep = Callable[[Sequence[Batch]], Awaitable[Sequence[Batch]]]
"""Of the batches of one answer those whose records count."""

_ANSWER_S: Final = 30.0
_FETCH: Final = FetchOptions(
    max_wait_ms=20, idle_wait_ms=20, max_bytes=1 << 20, partition_max_bytes=1 << 20, connections_per_leader=1
)
"""A fetch at the log's end, made ahead of the question's end, must not keep the next question waiting."""

_SCRATCH_BYTES: Final = 1 << 20
_MOST_BYTES: Final = 256 << 20
_RANGES_AT_ONCE: Final = 10_000


def fetcher_of(cluster: Cluster) -> Fetcher:
    """What the logs of one cluster share; to be closed."""
    return Fetcher(cluster, _FETCH, Unlimited())


class Expired(Exception):
    """The log does not have this offset any more."""


class Unreadable(SmartConnectError):
    """The log has it and does not give it; the sentence says why."""

    code = "unreadable"


class PartitionLog:
    """`fetcher`: that of its cluster, for one question at a time. `plan`: how records are summed up; its offsets and its range length are
    those of each question. `nbytes`: read so far."""

    def __init__(self, fetcher: Fetcher, tp: TopicPartition, plan: DigestPlan, keep: Keep) -> None:
        self.tp, self._fetcher, self._plan, self._keep = tp, fetcher, plan, keep
        self._scratch = Scratch(_SCRATCH_BYTES, _MOST_BYTES)
        self.nbytes = 0

    async def ranges(self, start: int, end: int, every: int) -> AsyncGenerator[RangeDigest]:
        """The records with offsets in [start, end), `every` so many in a range; the last may have fewer. Expired, Unreadable."""
        plan = replace(self._plan, from_offset=start, until_offset=end, every=every)
        at, unfinished = start, NO_RECORDS
        self._fetcher.assign(self.tp, start)
        try:
            while at < end:
                frame = await self._frame(at)
                try:
                    for fetched in (part for part in frame.partitions if part.tp == self.tp and part.fetch_offset == at):
                        for piece, rows in pieces(await self._rows(fetched), plan):
                            finished, unfinished = await self._sum_up(fetched, rows, piece, unfinished)
                            for found in finished:
                                yield found
                        at = fetched.next_offset
                finally:
                    frame.release()
            if unfinished.count:
                yield unfinished
        finally:
            self._fetcher.drop(self.tp)

    async def count(self, start: int, end: int, every: int) -> int:
        """How many records there are in [start, end)."""
        total = 0
        async with aclosing(self.ranges(start, end, every)) as ranges:
            async for found in ranges:
                total += found.count
        return total

    async def first(self, start: int, end: int, most: int) -> list[RangeDigest]:
        """The first `most` records of [start, end), one by one; fewer where there are no more."""
        records: list[RangeDigest] = []
        if most:
            async with aclosing(self.ranges(start, end, 1)) as ranges:
                async for found in ranges:
                    records.append(found)
                    if len(records) == most:
                        break
        return records

    async def behind(self, start: int, end: int, count: int) -> int:
        """The offset behind the first `count` records of [start, end); `end` where there are fewer."""
        if not count:
            return start
        async with aclosing(self.ranges(start, end, count)) as ranges:
            async for found in ranges:
                return found.last_offset + 1 if found.count == count else end
        return end

    async def _frame(self, at: int) -> Frame:
        frame = await self._fetcher.next(_ANSWER_S)
        if frame is None:
            raise Unreadable(
                f"Kafka gave nothing of {self.tp} from offset {at} on for {_ANSWER_S:.0f} s (is a transaction of somebody open?)"
            )
        return frame

    async def _rows(self, fetched: FetchedPartition) -> Sequence[Batch]:
        """The batches of one answer that count."""
        if fetched.error in (KafkaCode.OFFSET_OUT_OF_RANGE, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION):
            raise Expired
        if fetched.error is not None:
            raise Unreadable(f"Kafka answers {fetched.error.name} for {self.tp} at offset {fetched.fetch_offset}")
        self.nbytes += len(fetched.records)
        try:
            rows = walk(fetched.records, fetched.fetch_offset, fetched.aborted)
        except KernelError as error:
            raise self._broken(fetched, error) from error
        wrong = check(fetched.records, rows)
        if wrong >= 0:
            raise Unreadable(f"the checksum of the batch at offset {rows[wrong].base_offset} of {self.tp} is wrong")
        return await self._keep(rows)

    async def _sum_up(
        self, fetched: FetchedPartition, rows: Sequence[Batch], plan: DigestPlan, unfinished: RangeDigest
    ) -> tuple[list[RangeDigest], RangeDigest]:
        try:
            return await asyncio.to_thread(digest, fetched.records, rows, plan, self._scratch, unfinished)
        except KernelError as error:
            raise self._broken(fetched, error) from error

    def _broken(self, fetched: FetchedPartition, error: KernelError) -> Unreadable:
        return Unreadable(f"{self.tp} cannot be decoded from offset {fetched.fetch_offset} on: {error}")


def pieces(rows: Sequence[Batch], plan: DigestPlan) -> Iterator[tuple[DigestPlan, Sequence[Batch]]]:
    """What is summed up in one call: so few offsets that its ranges are a bounded list, however many records a batch unfolds to. Old
    wrapper messages do not tell where they begin, and stay with the rest."""
    if any(row.kind is Kind.LEGACY for row in rows):
        yield plan, rows
        return
    width, at, first = _RANGES_AT_ONCE * plan.every, plan.from_offset, 0
    while first < len(rows) and at < plan.until_offset:
        if rows[first].last_offset < at:
            first += 1
            continue
        at = max(at, rows[first].base_offset)
        last = next((index for index in range(first, len(rows)) if rows[index].base_offset >= at + width), len(rows))
        yield replace(plan, from_offset=at, until_offset=min(plan.until_offset, at + width)), rows[first:last]
        at += width
