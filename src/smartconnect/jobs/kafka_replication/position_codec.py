"""Keys and values of the topic `__smartconnect_positions` as bytes and back (kafka-replication.md §6.3).

Pure. Used by `position_store`, `offset_map` and `producer_ids`. Values begin with a version byte; whatever this module has not written is
MalformedData, never a guess: a position that cannot be read blocks its partition.

    p/<task>/<run>/<direction>/<topic>/<partition>                         StoredPosition
    m/<task>/<run>/<direction>/<topic>/<partition>/<first source offset>   a sealed chunk of map runs
    g/<task>/<run>/<direction>/<topic>/<partition>/<group>                 GroupMark: what we did to a group's offset (`group_sync`)
    i/<producer id>                                                        who writes with this producer id (`producer_ids`)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.numbers import LARGEST, ValueReader, put_number
from smartconnect.kafka.types import TopicPartition

POSITION: Final = "p"
CHUNK: Final = "m"
GROUPS: Final = "g"
VERSION: Final = 1
RUNS_OF_CHUNK: Final = 64
"""Runs of one sealed chunk, and the most that a position carries."""

_SOURCE_ID, _TARGET_ID, _START, _GAPS = 1, 2, 4, 8
_THINNED, _BACK = 1, 1
_LEAST_RUN_BYTES: Final = 3
_FIXED: Final = 5


class PositionKey(NamedTuple):
    """A key that belongs to one partition (`tp`, of the source) of one direction of a run. `first`: of a chunk, its first source offset;
    `group`: of a mark, any text."""

    kind: str
    task: str
    run: int
    direction: str
    tp: TopicPartition
    first: int | None = None
    group: str | None = None

    def encode(self) -> str:
        key = f"{self.kind}/{self.task}/{self.run}/{self.direction}/{self.tp.topic}/{self.tp.partition}"
        if self.first is not None:
            return f"{key}/{self.first}"
        return key if self.group is None else f"{key}/{self.group}"


def parse_key(raw: bytes) -> PositionKey | None:
    """The inverse of `PositionKey.encode`; None for keys of other kinds, and for what nobody of ours has written."""
    try:
        kind, *parts = raw.decode().split("/", _FIXED + 1)
    except UnicodeDecodeError:
        return None
    if len(parts) < _FIXED:
        return None
    task, run_text, direction, topic, partition_text = parts[:_FIXED]
    run, partition = _natural(run_text), _natural(partition_text)
    if run is None or partition is None or not (task and direction and topic):
        return None
    key = PositionKey(kind, task, run, direction, TopicPartition(topic, partition))
    return _with_rest(key, parts[_FIXED] if len(parts) > _FIXED else None)


def _with_rest(key: PositionKey, rest: str | None) -> PositionKey | None:
    """The key with what follows the partition, as its kind wants it."""
    if key.kind == POSITION:
        return key if rest is None else None
    if key.kind == CHUNK and rest is not None:
        first = _natural(rest)
        return None if first is None else key._replace(first=first)
    if key.kind == GROUPS and rest is not None:
        return key._replace(group=rest)
    return None


def _natural(text: str) -> int | None:
    """A number as we write it: ASCII digits, no leading zero, at most 63 bits."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        return None
    number = int(text)
    return number if number <= LARGEST else None


class MapRun(NamedTuple):
    """Source offsets [source, source + length) are the target's [target, target + length)."""

    source: int
    target: int
    length: int


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """How far one partition has got. Everything below `next_source` is on the target, below `next_target` (−1: nothing was written yet),
    or needs not be. Epoch −1: not known; ids are None where the brokers tell none. `committed_at`: ms since 1970. `runs`: the newest of
    the offset map, at most 64, ascending; empty without offset synchronisation. `start`: the source offset at which copying this topic
    began in this run, None where that is not known. `gaps`: how many lie before the position."""

    owner_epoch: int
    source_topic_id: UUID | None
    next_source: int
    source_leader_epoch: int
    target_topic_id: UUID | None
    next_target: int
    committed_at: int
    runs: tuple[MapRun, ...] = ()
    start: int | None = None
    gaps: int = 0


def encode_position(position: StoredPosition) -> bytes:
    """The value of a `p/` record."""
    start, gaps = position.start, position.gaps
    flags = (_SOURCE_ID if position.source_topic_id else 0) | (_TARGET_ID if position.target_topic_id else 0)
    flags |= (_START if start is not None else 0) | (_GAPS if gaps else 0)
    out = bytearray((VERSION, flags))
    for topic_id in (position.source_topic_id, position.target_topic_id):
        out += topic_id.bytes if topic_id else b""
    for number in (
        position.owner_epoch,
        position.next_source,
        position.source_leader_epoch + 1,
        position.next_target + 1,
        position.committed_at,
    ):
        put_number(out, number)
    if start is not None:
        put_number(out, start)
    if gaps:
        put_number(out, gaps)
    put_runs(out, position.runs)
    return bytes(out)


def decode_position(value: bytes | memoryview) -> StoredPosition:
    """The inverse of `encode_position`. MalformedData."""
    reader = ValueReader(value)
    flags = _opened(reader, _SOURCE_ID | _TARGET_ID | _START | _GAPS)
    source_id = UUID(bytes=reader.raw(16)) if flags & _SOURCE_ID else None
    target_id = UUID(bytes=reader.raw(16)) if flags & _TARGET_ID else None
    owner, next_source, leader_epoch, next_target, committed_at = (reader.number() for _ in range(5))
    start = reader.number() if flags & _START else None
    gaps = reader.number() if flags & _GAPS else 0
    runs = take_runs(reader)
    reader.end()
    if runs and (runs[-1].source + runs[-1].length > next_source or runs[-1].target + runs[-1].length >= next_target):
        raise MalformedData("the offset map of a stored position reaches beyond the position")
    return StoredPosition(
        owner, source_id, next_source, leader_epoch - 1, target_id, next_target - 1, committed_at, runs, start, gaps
    )


class Extent(NamedTuple):
    """What a chunk covers: from the beginning of its first run to the end of its last, in source and target offsets."""

    source: int
    target: int
    source_end: int
    target_end: int


def encode_chunk(runs: Sequence[MapRun], *, thinned: bool) -> bytes:
    """The value of an `m/` record: its extent, then its runs. `thinned`: runs between these were left out."""
    out = bytearray((VERSION, _THINNED if thinned else 0))
    first, last = runs[0], runs[-1]
    for number in (first.source, first.target, last.source + last.length - first.source, last.target + last.length - first.target):
        put_number(out, number)
    put_runs(out, runs)
    return bytes(out)


def chunk_extent(value: bytes | memoryview) -> Extent:
    """Without decoding the runs, of which there may be millions. MalformedData."""
    return _opened_chunk(value)[2]


def decode_chunk(value: bytes | memoryview) -> tuple[tuple[MapRun, ...], bool]:
    """(runs, thinned). MalformedData; also where the runs are not those of the extent."""
    reader, thinned, extent = _opened_chunk(value)
    runs = take_runs(reader)
    reader.end()
    if not runs or extent != (runs[0].source, runs[0].target, runs[-1].source + runs[-1].length, runs[-1].target + runs[-1].length):
        raise MalformedData("a stored chunk of an offset map does not hold what it announces")
    return runs, thinned


def _opened_chunk(value: bytes | memoryview) -> tuple[ValueReader, bool, Extent]:
    reader = ValueReader(value)
    thinned = _opened(reader, _THINNED) == _THINNED
    source, target = reader.number(), reader.number()
    return reader, thinned, Extent(source, target, source + reader.number(), target + reader.number())


@dataclass(frozen=True, slots=True)
class GroupMark:
    """What we know of a group at one partition: its offset on the source when we looked last, what we wrote on the target for it (−1:
    nothing yet), and whether the source went back and the target has still to follow."""

    observed: int
    written: int
    back: bool


def encode_mark(mark: GroupMark) -> bytes:
    """The value of a `g/` record."""
    out = bytearray((VERSION, _BACK if mark.back else 0))
    put_number(out, mark.observed)
    put_number(out, mark.written + 1)
    return bytes(out)


def decode_mark(value: bytes | memoryview) -> GroupMark:
    """The inverse of `encode_mark`. MalformedData."""
    reader = ValueReader(value)
    flags = _opened(reader, _BACK)
    mark = GroupMark(reader.number(), reader.number() - 1, flags == _BACK)
    reader.end()
    return mark


def put_runs(out: bytearray, runs: Iterable[MapRun]) -> None:
    """Each run as its distance from the end of the one before in source and target, and its length."""
    runs = tuple(runs)
    put_number(out, len(runs))
    source = target = 0
    for run in runs:
        put_number(out, run.source - source)
        put_number(out, run.target - target)
        put_number(out, run.length)
        source, target = run.source + run.length, run.target + run.length


def take_runs(reader: ValueReader) -> tuple[MapRun, ...]:
    """The inverse of `put_runs`: ascending, none empty, none overlapping."""
    count = reader.number()
    if count * _LEAST_RUN_BYTES > reader.left:
        raise MalformedData("a stored offset map announces more runs than it holds")
    runs = []
    source = target = 0
    for _ in range(count):
        run = MapRun(source + reader.number(), target + reader.number(), reader.number())
        source, target = run.source + run.length, run.target + run.length
        if not run.length or max(source, target) > LARGEST:
            raise MalformedData("a stored offset map has an impossible run")
        runs.append(run)
    return tuple(runs)


def _opened(reader: ValueReader, known_flags: int) -> int:
    """Check the version; the flags."""
    version, flags = reader.raw(2)
    if version != VERSION:
        raise MalformedData(f"a stored position has version {version}: it was written by a newer Smart Connect")
    if flags & ~known_flags:
        raise MalformedData("a stored position has unknown flags")
    return flags
