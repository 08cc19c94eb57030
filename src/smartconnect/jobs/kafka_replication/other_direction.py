"""What the other direction of a two-way task has done on the cluster that we read from: where its copies lie, and the group offsets that
it wrote (kafka-replication.md §7, two-way).

The other direction may run in another process. What it knows is what it stores in *its* positions topic, which lies on *our* source: that
is read once, later only what was added. Guarantees: what `refresh` has taken up was committed there; an answer about copies is never later
than what is true. Called by `group_sync` before each round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from smartconnect.jobs.kafka_replication.committed import CommittedLog
from smartconnect.jobs.kafka_replication.offset_map import OffsetMap, settle_chunks
from smartconnect.jobs.kafka_replication.position_codec import (
    CHUNK,
    GROUPS,
    POSITION,
    GroupMark,
    PositionKey,
    decode_mark,
    decode_position,
    parse_key,
)
from smartconnect.jobs.kafka_replication.positions_topic import partition_of
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.types import TopicPartition


class OtherDirection:
    """`source`: our source, the target of `direction`. `concerns`: partitions of *its* source, that is of our target, of interest to us."""

    def __init__(self, source: Cluster, task_id: str, run: int, direction: str, concerns: Callable[[TopicPartition], bool]) -> None:
        self._source, self._tp = source, partition_of(task_id)
        self._id, self._concerns = (task_id, run, direction), concerns
        self._log = CommittedLog(str(self._tp), f"/{task_id}/{run}/{direction}/".encode(), self._wants)
        self._at = 0
        self._chunks: dict[TopicPartition, dict[int, bytes]] = {}
        self._settled: dict[TopicPartition, list[tuple[int, bytes]]] = {}
        self._marks: dict[tuple[TopicPartition, str], GroupMark] = {}
        self._maps: dict[TopicPartition, OffsetMap] = {}

    def _wants(self, raw: bytes) -> bool:
        key = parse_key(raw)
        return key is not None and (key.task, key.run, key.direction) == self._id and self._concerns(key.tp)

    async def refresh(self) -> None:
        """Take up what was committed since. Raises LogDamaged and what the cluster raises; what was known stays then."""
        start, end = await log_bounds(self._source, self._tp)
        async for part in scan(self._source, self._tp, max(start, self._at), end):
            await asyncio.to_thread(self._feed, part.records, part.fetch_offset, end)
        self._at = max(self._at, end)

    def _feed(self, records: memoryview, fetch_offset: int, end: int) -> None:
        moved: dict[TopicPartition, bytes | None] = {}
        for raw, value in self._log.feed(records, fetch_offset, end).items():
            key = parse_key(raw)
            if key is None:
                continue
            if key.kind == POSITION:
                moved[key.tp] = value
            else:
                self._take(key, value)
        for tp, value in moved.items():
            self._map(tp, value)

    def _take(self, key: PositionKey, value: bytes | None) -> None:
        if key.kind == CHUNK and key.first is not None:
            chunks = self._chunks.setdefault(key.tp, {})
            chunks.pop(key.first, None)
            if value is not None:
                chunks[key.first] = value
            self._settled.pop(key.tp, None)
        elif key.kind == GROUPS and key.group is not None:
            self._marks.pop((key.tp, key.group), None)
            if value is not None:
                self._marks[key.tp, key.group] = decode_mark(value)

    def _map(self, tp: TopicPartition, value: bytes | None) -> None:
        """Chunks change seldom, positions with each commit."""
        self._maps.pop(tp, None)
        if value is None:
            return
        position = decode_position(value)
        if tp not in self._settled:
            self._settled[tp] = settle_chunks(position, self._chunks.get(tp, {}).items())
        self._maps[tp] = OffsetMap(position.next_source, position.next_target, position.runs, self._settled[tp])

    def wrote(self, group: str, its_source: TopicPartition) -> int | None:
        """The offset that it committed last for the group on its target, for what it copies from `its_source`."""
        mark = self._marks.get((its_source, group))
        return None if mark is None or mark.written < 0 else mark.written

    def first_not_before(self, its_source: TopicPartition, offset: int) -> int:
        """The first offset of `its_source` whose copy lies at or behind `offset` on its target, or that is not copied yet; 0 where
        nothing is known."""
        found = self._maps.get(its_source)
        return 0 if found is None else found.inverse(offset)
