"""Reads one partition from Kafka, range by range in ascending order, for the deep comparison. One small fetch at a time: it must not
disturb the live task, and its memory is one answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from smartconnect.domain.errors import MalformedData, SmartConnectError
from smartconnect.jobs.obs_dump.verify.records import SeenRecord, visible_records
from smartconnect.jobs.unlimited import Unlimited
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions
from smartconnect.kafka.types import TopicPartition

_ANSWER_S = 30.0
_FETCH = FetchOptions(max_bytes=1 << 20, partition_max_bytes=1 << 20, connections_per_leader=1)


class Expired(Exception):
    """Kafka no longer has this range, or not all of it."""


class Unreadable(SmartConnectError):
    """Kafka has the range and does not give it; the sentence says why."""

    code = "unreadable"


class PartitionSource:
    """Async context manager. `read` may be asked for any ranges; ascending ones that touch cost no record twice: `_left` holds every
    visible record of [`_from`, `_position`)."""

    def __init__(self, cluster: Cluster, tp: TopicPartition) -> None:
        self._tp = tp
        self._fetcher = Fetcher(cluster, _FETCH, Unlimited())
        self._position: int | None = None
        self._from = 0
        self._left: list[SeenRecord] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._fetcher.close()

    async def read(self, start: int, end: int) -> AsyncIterator[list[SeenRecord]]:
        """The visible records with offsets in [start, end), some at a time. Raises Expired, Unreadable."""
        if self._position is None or not self._from <= start <= self._position:
            self._fetcher.assign(self._tp, start)
            self._position, self._left = start, []
        self._from = start
        self._left = [record for record in self._left if record.offset >= start]
        while True:
            ready = [record for record in self._left if record.offset < end]
            if ready:
                self._left = self._left[len(ready) :]
                self._from = ready[-1].offset + 1
                yield ready
            if self._left or self._position >= end:
                self._from = end
                return
            await self._more()

    async def _more(self) -> None:
        frame = await self._fetcher.next(_ANSWER_S)
        if frame is None:
            raise Unreadable(f"Kafka gave nothing of {self._tp} from offset {self._position} on for {_ANSWER_S:.0f} s")
        try:
            for fetched in frame.partitions:
                if fetched.tp == self._tp:
                    self._take(fetched)
        finally:
            frame.release()

    def _take(self, fetched: FetchedPartition) -> None:
        if fetched.error in (KafkaCode.OFFSET_OUT_OF_RANGE, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION):
            self._position = None
            raise Expired
        if fetched.error is not None:
            self._position = None
            raise Unreadable(f"Kafka answers {fetched.error.name} for {self._tp} at offset {fetched.fetch_offset}")
        try:
            records = visible_records(fetched.records, fetched.aborted)
            self._left.extend(record for record in records if record.offset >= fetched.fetch_offset)
        except MalformedData as error:
            self._position = None
            raise Unreadable(f"{self._tp}: {error}") from error
        self._position = fetched.next_offset
