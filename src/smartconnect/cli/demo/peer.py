"""Counts what has arrived in the peer against what was written to the instance. It reads as any read_committed consumer of the peer would,
while the service copies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from smartconnect.cli.demo.source import PARTITIONS, TOPICS, DemoFailed, Written
from smartconnect.cli.demo.tally import Tally
from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.jobs.obs_dump.verify.records import visible_records
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition

_FETCH: Final = FetchOptions(max_bytes=1 << 20, partition_max_bytes=256 << 10, connections_per_leader=1)
_BUDGET: Final = 16 << 20
_POLL_S: Final = 0.5
_WITHIN_S: Final = 60.0


class PeerCheck:
    """Async context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fetcher = Fetcher(cluster, _FETCH, MemoryBudget(_BUDGET).join())
        self._position: dict[TopicPartition, int] = {}
        self.tally = Tally()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._fetcher.close()

    async def look(self) -> None:
        """Count what has arrived. The service makes the topics: what does not exist yet is looked for the next time."""
        await self._find_topics()
        while await self._take(0):
            continue

    async def conclude(self, written: Written) -> Tally:
        """Nothing will be copied any more: what is not there now is lost."""
        await self._find_topics()
        found = await list_offsets(self._cluster, dict.fromkeys(self._position, LATEST), READ_COMMITTED)
        try:
            async with asyncio.timeout(_WITHIN_S):
                while any(self._position[tp] < listed.offset for tp, listed in found.items()):
                    await self._take(_POLL_S)
        except TimeoutError:
            raise DemoFailed(f"the peer's topics could not be read to their end within {_WITHIN_S:.0f} s") from None
        self.tally.end(written)
        return self.tally

    async def _find_topics(self) -> None:
        if len(self._position) == len(PARTITIONS):
            return
        topics = (await self._cluster.metadata(TOPICS)).topics
        for tp in PARTITIONS:
            if tp not in self._position and tp.partition in topics[tp.topic].partitions:
                self._position[tp] = 0
                self._fetcher.assign(tp, 0)

    async def _take(self, timeout_s: float) -> bool:
        """Count one answer; False if there was none in time."""
        frame = await self._fetcher.next(timeout_s)
        if frame is None:
            return False
        try:
            await asyncio.to_thread(self._count, frame.partitions)
        finally:
            frame.release()
        return True

    def _count(self, fetched: Sequence[FetchedPartition]) -> None:
        for part in fetched:
            if part.error is not None:
                raise DemoFailed(f"the peer answers {part.error.name} for {part.tp} at offset {part.fetch_offset}")
            for record in visible_records(part.records, part.aborted):
                if record.offset >= part.fetch_offset:
                    self.tally.count(part.tp, record.value or b"")
            self._position[part.tp] = part.next_offset
