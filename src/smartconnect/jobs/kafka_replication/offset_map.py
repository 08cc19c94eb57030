"""Where on the target each source offset of one partition came to lie, exactly, in a few bytes per stretch (kafka-replication.md §7).

A *run* is a stretch in which source and target offsets have one distance. The newest runs (at most 64; fewer where a worker has
thousands of maps) are open and stored with each position; older ones are sealed together into chunks of delta varints that stay as bytes
here and are stored once. `translate` is exact for every offset. Where memory or a commit would become too large, neighbouring chunks are
*thinned*: they become one with every second of their runs; there `translate` may give an earlier offset, never a later one: consumers
read again, they skip nothing.

Pure, for one event loop: the data path changes a map as batches are acknowledged, group synchronisation asks it. What is stored is at any
moment enough for a map that is right. After an abort the map is made anew from what is stored.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

from smartconnect.domain.errors import MalformedData
from smartconnect.jobs.kafka_replication.position_codec import (
    RUNS_OF_CHUNK,
    MapRun,
    StoredPosition,
    chunk_extent,
    decode_chunk,
    encode_chunk,
)

_CHUNK_OVERHEAD: Final = 64
"""Bytes of memory of a chunk beside its own: its object, its places in two lists."""

_NEVER_THINNED: Final = 4
"""So many newest chunks stay exact while memory is short: this is where consumers are."""

_MOST_NEW: Final = 1024
"""Sealed chunks of one map that one commit may carry, about 350 KiB; a source with holes everywhere can make more."""

_MOST_TOMBSTONES: Final = 256

_Region = tuple[tuple[MapRun, ...], bool]
"""(runs, thinned) of a chunk, or of the open runs."""


class OffsetMap:
    """`next_source`: the first source offset that is neither copied nor skipped; `next_target`: the target offset behind the last copied
    record, −1 before the first one. `runs`: the newest, as stored in the position; `chunks`: as `settle_chunks` gives them. `most_open`
    runs wait to be sealed, at most 64; it may be changed at any time."""

    def __init__(
        self, next_source: int, next_target: int = -1, runs: Iterable[MapRun] = (), chunks: Iterable[tuple[int, bytes]] = ()
    ) -> None:
        self.next_source, self.next_target = next_source, next_target
        self.most_open = RUNS_OF_CHUNK
        self._open: list[MapRun] = list(runs)
        chunks = list(chunks)
        self._firsts = array("q", [first for first, value in chunks if value])
        self._chunks = [value for _, value in chunks if value]
        self._nbytes = sum(map(len, self._chunks)) + _CHUNK_OVERHEAD * len(self._chunks)
        self._changed: set[int] = set()
        self._replaced = {first: None for first, value in chunks if not value}
        self._new_from, self._squeeze_at, self._thin_at = len(self._chunks), 0, 0
        self._decoded: tuple[bytes, _Region] | None = None

    @classmethod
    def stored(cls, position: StoredPosition, chunks: Iterable[tuple[int, bytes]] = ()) -> OffsetMap:
        """The map of a partition whose position is stored. One that was copied without a map until now gets one that is right from here
        on; offsets before are translated to the target's beginning."""
        found = cls(position.next_source, position.next_target, position.runs, chunks)
        if not found._open and not found._chunks:
            for first, value in unknown_before(position):
                found._append(first, value)
        return found

    # Growing

    def add(self, source_first: int, source_last: int, target_first: int) -> None:
        """Source offsets source_first … source_last came to lie at target_first and behind. Where this goes back, what was known from
        there on does not hold any more: the source was copied again, or the target has lost its end (unclean election)."""
        length = source_last - source_first + 1
        if source_first < self.next_source:
            self.cut(source_first)
        if target_first < self.next_target:
            self._shorten(target_first, _before_target)
        last = self._open[-1] if self._open else None
        if last is not None and (last.source + last.length, last.target + last.length) == (source_first, target_first):
            self._open[-1] = last._replace(length=last.length + length)
        else:
            self._open.append(MapRun(source_first, target_first, length))
            if len(self._open) > self.most_open:
                runs, self._open = self._open[:-1], self._open[-1:]
                self._append(runs[0].source, encode_chunk(runs, thinned=False))
        self.next_source, self.next_target = source_last + 1, target_first + length

    def skip_to(self, source: int) -> None:
        """Everything before `source` is copied or needs no copying."""
        self.next_source = max(self.next_source, source)

    def _append(self, first: int, value: bytes) -> None:
        self._firsts.append(first)
        self._chunks.append(value)
        self._nbytes += len(value) + _CHUNK_OVERHEAD
        self._changed.add(first)
        if len(self._chunks) - self._new_from > _MOST_NEW:
            self._squeeze_at = max(self._squeeze_at, self._new_from)
            if self._squeeze_at + 2 > len(self._chunks) - _NEVER_THINNED:
                self._squeeze_at = self._new_from
            self._merge(self._squeeze_at)
            self._squeeze_at += 1

    # Forgetting

    def clear(self, next_source: int) -> None:
        """Another topic on either side: nothing of the map holds any more."""
        self._remove(0, len(self._chunks), false=True)
        self._open, self.next_source, self.next_target = [], next_source, -1

    def cut(self, source: int) -> None:
        """The source lost what it had from `source` on (unclean election): those target records are copies of nothing now."""
        self._shorten(source, _before_source)
        self.next_source = min(self.next_source, source)

    def _shorten(self, end: int, before: Callable[[Iterable[MapRun], int], list[MapRun]]) -> None:
        """Keep what lies before `end`. A thinned chunk stays a chunk: only a chunk can tell that it is thinned."""
        kept, thinned = before(self._open, end), False
        while not kept and self._chunks:
            runs, thinned = self._region(len(self._chunks) - 1)
            self._remove(len(self._chunks) - 1, len(self._chunks), false=True)
            kept = before(runs, end)
        self._open = [] if thinned else kept
        if kept and thinned:
            self._append(kept[0].source, encode_chunk(kept, thinned=True))

    def forget_before(self, target_start: int) -> None:
        """The target begins at `target_start` now: chunks that only tell about what lies before are of no use."""
        count = 0
        while count + 1 < len(self._chunks) and chunk_extent(self._chunks[count + 1]).target <= target_start:
            count += 1
        self._remove(0, count, false=False)

    def _remove(self, begin: int, end: int, *, false: bool) -> None:
        """Chunks that are `false` must go with the next commit; true ones do no harm while they are stored."""
        for first in self._firsts[begin:end]:
            self._changed.discard(first)
            if false:
                self._changed.add(first)
            else:
                self._replaced[first] = None
        self._nbytes -= sum(map(len, self._chunks[begin:end])) + (end - begin) * _CHUNK_OVERHEAD
        del self._firsts[begin:end], self._chunks[begin:end]
        self._new_from = min(self._new_from, len(self._chunks)) if begin else max(0, self._new_from - end)
        self._thin_at = 0

    # Memory

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the sealed part."""
        return self._nbytes

    @property
    def can_thin(self) -> bool:
        return len(self._chunks) >= _NEVER_THINNED + 2

    def thin(self) -> None:
        """Make two neighbouring chunks one. From the oldest to the newest, then from the oldest again."""
        if self._thin_at + 2 > len(self._chunks) - _NEVER_THINNED:
            self._thin_at = 0
        self._merge(self._thin_at)
        self._thin_at += 1

    def _merge(self, at: int) -> None:
        runs = [*self._region(at)[0], *self._region(at + 1)[0]]
        kept = runs[::2] if len(runs) > RUNS_OF_CHUNK else runs
        value = encode_chunk(kept, thinned=True)
        self._nbytes += len(value) - len(self._chunks[at]) - len(self._chunks[at + 1]) - _CHUNK_OVERHEAD
        self._chunks[at : at + 2] = [value]
        self._changed.add(self._firsts[at])
        self._changed.discard(self._firsts[at + 1])
        if at + 1 < self._new_from:
            self._replaced[self._firsts[at + 1]] = None
        if at < self._new_from:
            self._new_from -= 1
        del self._firsts[at + 1]

    # What is stored

    def newest(self) -> tuple[MapRun, ...]:
        """The open runs, at most 64: stored in the position."""
        return tuple(self._open)

    def take_changes(self) -> Mapping[int, bytes | None]:
        """Chunks to be stored together with the next position: first source offset → value, None to remove it. If that commit fails,
        the map is made anew from what is stored. Tombstones of chunks that were thinned into others may wait for later calls."""
        taken = {first: self._chunk_at(first) for first in self._changed}
        for first in list(islice(self._replaced, _MOST_TOMBSTONES)):
            del self._replaced[first]
            if self._chunk_at(first) is None:
                taken[first] = None
        self._changed.clear()
        self._new_from = len(self._chunks)
        return taken

    def _chunk_at(self, first: int) -> bytes | None:
        at = bisect_left(self._firsts, first)
        return self._chunks[at] if at < len(self._firsts) and self._firsts[at] == first else None

    # Asking

    def translate(self, source: int) -> int | None:
        """The target offset of the first copied record with a source offset ≥ `source`; None before anything was copied. In a thinned
        stretch the end of the kept run before it: earlier, never later."""
        if self.next_target < 0:
            return None
        if source >= self.next_source:
            return self.next_target
        at = max(0, bisect_right(self._firsts, source) - 1)
        if self._open and source >= self._open[0].source:
            at = len(self._chunks)
        runs, thinned = self._region(at)
        before = -1
        for run in runs:
            if source < run.source:
                return before if thinned and before >= 0 else run.target
            if source < run.source + run.length:
                return run.target + source - run.source
            before = run.target + run.length
        if thinned:
            return before
        following = self._region(at + 1)[0]
        return following[0].target if following else self.next_target

    def inverse(self, target: int) -> int:
        """The source offset of the first record whose copy lies at or behind `target`; `next_source` where all copies lie before it. In
        a thinned stretch earlier, never later."""
        if target >= self.next_target:
            return self.next_source
        count = len(self._chunks) + bool(self._open)
        at = max(0, bisect_right(range(count), target, key=lambda region: self._region(region)[0][0].target) - 1)
        runs, thinned = self._region(at)
        before = -1
        for run in runs:
            if target < run.target:
                return before if thinned and before >= 0 else run.source
            if target < run.target + run.length:
                return run.source + target - run.target
            before = run.source + run.length
        if thinned:
            return before
        following = self._region(at + 1)[0]
        return following[0].source if following else self.next_source

    def _region(self, at: int) -> _Region:
        """The runs of a chunk; behind the last chunk the open ones; behind those none."""
        if at >= len(self._chunks):
            return (tuple(self._open) if at == len(self._chunks) else ()), False
        value = self._chunks[at]
        if self._decoded is None or self._decoded[0] is not value:
            self._decoded = value, decode_chunk(value)
        return self._decoded[1]


def settle_chunks(position: StoredPosition, chunks: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The stored chunks of a map in order. One that was thinned into another and is only not removed yet gets an empty value. MalformedData
    where they do not fit together, or to the position. Looks at every one: for a thread where there are many."""
    found: list[tuple[int, bytes]] = []
    following = position.runs[0] if position.runs else MapRun(position.next_source, position.next_target, 1)
    source = target = 0
    for first, value in sorted(chunks):
        extent = chunk_extent(value)
        if extent.source != first or extent.source_end > following.source or extent.target_end > following.target:
            raise MalformedData(f"the stored offset map has a chunk at {first} that is not part of it")
        if first < source or extent.target < target:
            found.append((first, b""))
            continue
        found.append((first, value))
        source, target = extent.source_end, extent.target_end
    return found


def moved_map(
    position: StoredPosition, chunks: Iterable[tuple[int, bytes]], offset: int
) -> tuple[tuple[MapRun, ...], Mapping[int, bytes | None]]:
    """Runs and changes of chunks to be stored with a position that somebody moves to `offset` by hand. A partition without a map stays
    without."""
    chunks = list(chunks)
    if not position.runs and not chunks:
        return (), {}
    moved = OffsetMap.stored(position, chunks)
    moved.cut(offset)
    return moved.newest(), moved.take_changes()


def unknown_before(position: StoredPosition) -> list[tuple[int, bytes]]:
    """In place of chunks that are lost or never were: a thinned stretch from the first offset to the newest runs, or to the position."""
    end = position.runs[0] if position.runs else MapRun(position.next_source, position.next_target, 1)
    if end.source < 1 or end.target < 1:
        return []
    return [(0, encode_chunk([MapRun(0, 0, 1)], thinned=True))]


def _before_source(runs: Iterable[MapRun], end: int) -> list[MapRun]:
    return [run._replace(length=min(run.length, end - run.source)) for run in runs if run.source < end]


def _before_target(runs: Iterable[MapRun], end: int) -> list[MapRun]:
    return [run._replace(length=min(run.length, end - run.target)) for run in runs if run.target < end]
