"""The positions of one direction of a task on its target cluster: read at the start of an incarnation, written with each commit
(kafka-replication.md §6.3).

Guarantees: `read` gives, for the partitions asked for, what the last *committed* transaction (or plain write) stored, complete and
without waiting for anybody else's open transaction. It is right only after InitProducerId has succeeded for our own id and for those of
older plans: then nothing of theirs is undecided. `batch` and `tombstones` only build bytes: the data path stamps and sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication import positions_topic
from smartconnect.jobs.kafka_replication.committed import CommittedLog
from smartconnect.jobs.kafka_replication.offset_map import settle_chunks, unknown_before
from smartconnect.jobs.kafka_replication.position_codec import (
    CHUNK,
    GROUPS,
    POSITION,
    GroupMark,
    MapRun,
    PositionKey,
    StoredPosition,
    decode_mark,
    decode_position,
    encode_mark,
    encode_position,
    parse_key,
)
from smartconnect.jobs.kafka_replication.positions_topic import LARGEST_BATCH
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec
from smartconnect.kernels.encode import Frame, Record, batch

__all__ = ["ChunkChanges", "GroupMark", "MapRun", "PositionStore", "Positions", "StoredPosition"]

ChunkChanges = Mapping[TopicPartition, Mapping[int, bytes | None]]
"""Partition → first source offset of a chunk of its offset map → the chunk's value, None to remove it."""

_COMPRESS_ABOVE = 16 << 10
_TOMBSTONES_BYTES = 256 << 10


class Positions(dict[TopicPartition, StoredPosition]):
    """What was read, by partition of the source.

    `chunks`: the sealed part of each offset map, settled, for `OffsetMap`. `damaged_maps`: partitions whose chunks are damaged, with the
    reason: their map is right from the newest runs on, offsets before lead to the target's beginning. `marks`: of groups at a partition.
    `unreadable`: partitions whose position cannot be decoded, with the reason: to be blocked, never to be begun anew. `newest_run`: the
    highest run of this task and direction of which the topic knows positions, 0 if none; above our own it means that the registry is
    older than the data (architecture.md §4)."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: dict[TopicPartition, list[tuple[int, bytes]]] = {}
        self.marks: dict[TopicPartition, dict[str, GroupMark]] = {}
        self.unreadable: dict[TopicPartition, str] = {}
        self.damaged_maps: dict[TopicPartition, str] = {}
        self.newest_run = 0


class PositionStore:
    """`cluster`: the target. `tp`: the partition of the positions topic that holds this task's records."""

    def __init__(self, cluster: Cluster, task_id: str, run: int, direction: str) -> None:
        self.tp = positions_topic.partition_of(task_id)
        self._cluster, self._task, self._run, self._direction = cluster, task_id, run, direction

    async def ensure_topic(self, replication_factor: int | None) -> None:
        """Create the topic if it is missing (None: min(3, brokers)); returns when all its leaders answer."""
        await positions_topic.ensure(self._cluster, replication_factor)

    async def read(self, mine: Callable[[TopicPartition], bool]) -> Positions:
        """The positions of those partitions (of the source) that are `mine`. Raises LogDamaged, what the cluster raises, never a part."""
        newest = [0]

        def wants(key: PositionKey) -> bool:
            if key.direction == self._direction and key.kind == POSITION:
                newest[0] = max(newest[0], key.run)
            return (key.run, key.direction) == (self._run, self._direction) and mine(key.tp)

        log = await self._scan(wants)
        found = await asyncio.to_thread(_positions_of, log)
        found.newest_run = newest[0]
        return found

    async def left_open(self, producer_id: int) -> dict[TopicPartition, int]:
        """Of the positions in this producer's transaction without an end, whatever their run: those under which the target got records,
        with the target's offset behind these."""
        log = await self._scan(lambda key: key.direction == self._direction and key.kind == POSITION)
        return await asyncio.to_thread(_advanced, log, producer_id)

    async def read_if_any(self, mine: Callable[[TopicPartition], bool]) -> Positions:
        """The same beside a running task, for a look only: what is committed now; nothing where the topic was never made."""
        try:
            return await self.read(mine)
        except BrokerRefused as refused:
            if refused.kafka_code is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise
            return Positions()

    async def _scan(self, wants: Callable[[PositionKey], bool]) -> CommittedLog:
        def wanted(raw: bytes) -> bool:
            key = parse_key(raw)
            return key is not None and key.task == self._task and wants(key)

        start, end = await log_bounds(self._cluster, self.tp)
        log = CommittedLog(str(self.tp), f"/{self._task}/".encode(), wanted)
        async for part in scan(self._cluster, self.tp, start, end):
            await asyncio.to_thread(log.feed, part.records, part.fetch_offset, end)
        return log

    # What the data path writes

    def batch(
        self, positions: Mapping[TopicPartition, StoredPosition], now_ms: int, chunks: ChunkChanges | None = None
    ) -> bytearray:
        """One v2 batch with base offset 0, not stamped. `chunks` come with the positions whose maps they were sealed from."""
        records: list[tuple[str, bytes | None]] = [
            (self._key(POSITION, tp).encode(), encode_position(found)) for tp, found in positions.items()
        ]
        for tp, changes in (chunks or {}).items():
            records += [(self._key(CHUNK, tp)._replace(first=first).encode(), value) for first, value in changes.items()]
        return build_batch(records, now_ms)

    def marks_batch(self, marks: Mapping[tuple[TopicPartition, str], GroupMark], now_ms: int) -> bytearray:
        """The same for marks of groups, by (partition, group); sent outside of transactions."""
        records = [(self._key(GROUPS, tp)._replace(group=group).encode(), encode_mark(mark)) for (tp, group), mark in marks.items()]
        return build_batch(records, now_ms)

    def tombstones(self, keys: Iterable[str], now_ms: int) -> Iterator[bytearray]:
        """Batches that remove these keys, each of some hundred KiB at most."""
        part: list[tuple[str, bytes | None]] = []
        size = 0
        for key in keys:
            part.append((key, None))
            size += len(key)
            if size >= _TOMBSTONES_BYTES:
                yield build_batch(part, now_ms)
                part, size = [], 0
        if part:
            yield build_batch(part, now_ms)

    async def keys_of_older_runs(self) -> list[str]:
        """Keys of this direction that belong to runs before ours: what a restart removes, after fencing."""
        log = await self._scan(lambda key: key.direction == self._direction and key.run < self._run)
        return [key.decode() for key, _ in log.live()]

    async def keys_of_task(self) -> list[str]:
        """Keys of this direction of every run: what deleting the task removes, after fencing."""
        log = await self._scan(lambda key: key.direction == self._direction)
        return [key.decode() for key, _ in log.live()]

    def _key(self, kind: str, tp: TopicPartition) -> PositionKey:
        return PositionKey(kind, self._task, self._run, self._direction, tp)


def _positions_of(log: CommittedLog) -> Positions:
    """Decode everything. Offset maps may be large: for a thread."""
    found = Positions()
    for raw, value in log.live():
        key = parse_key(raw)
        try:
            if key is not None:
                _take(found, key, value)
        except MalformedData as error:
            if key is not None and key.kind == POSITION:
                found.unreadable[key.tp] = f"the stored position of {key.tp} cannot be read: {error}"
    for tp, chunks in list(found.chunks.items()):
        position = found.get(tp)
        try:
            found.chunks[tp] = settle_chunks(position, chunks) if position is not None else []
        except MalformedData as error:
            found.chunks[tp] = unknown_before(found[tp])
            found.damaged_maps[tp] = f"the stored offset map of {tp} cannot be read: {error}"
    return found


def _advanced(log: CommittedLog, producer_id: int) -> dict[TopicPartition, int]:
    found = {}
    for raw, before, after in log.undecided(producer_id):
        key = parse_key(raw)
        if key is None or after is None:
            continue
        with contextlib.suppress(MalformedData):
            end = decode_position(after).next_target
            if end >= 0 and (before is None or decode_position(before).next_target != end):
                found[key.tp] = end
    return found


def _take(found: Positions, key: PositionKey, value: bytes) -> None:
    if key.kind == POSITION:
        found[key.tp] = decode_position(value)
    elif key.kind == CHUNK and key.first is not None:
        found.chunks.setdefault(key.tp, []).append((key.first, value))
    elif key.kind == GROUPS and key.group is not None:
        found.marks.setdefault(key.tp, {})[key.group] = decode_mark(value)


def build_batch(entries: Iterable[tuple[str, bytes | None]], now_ms: int) -> bytearray:
    """Records of the positions topic as one batch; a large one is compressed, its keys are much alike. ValueError where it is larger than
    the topic takes, or empty (brokers refuse that)."""
    records = [Record(offset, value, key.encode(), now_ms) for offset, (key, value) in enumerate(entries)]
    if not records:
        raise ValueError("a batch of positions needs at least one record")
    large = sum(len(record.key or b"") + len(record.value or b"") for record in records) > _COMPRESS_ABOVE
    built = batch(records, Frame(codec=Codec.ZSTD if large else Codec.NONE, leader_epoch=-1))
    if len(built) > LARGEST_BATCH:
        raise ValueError(f"a batch of positions has {len(built)} bytes, the topic takes {LARGEST_BATCH}")
    return bytearray(built)
