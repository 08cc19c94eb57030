"""Where the comparison of a partition may begin: a pair of offsets, of a source record and its copy, found without a stored map.

In its first run the target's first record of ours is the copy of the first one read. Else both logs share their ends: the position says
where. Counting backwards from there gives the pair, up to what is missing or there twice; the records themselves then tell it exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from smartconnect.jobs.kafka_replication.verify.diff import nearest
from smartconnect.jobs.kafka_replication.verify.log import PartitionLog
from smartconnect.kernels import RangeDigest

RECORDS_OF_RANGE: Final = 10_000
_NEEDLE: Final = 64
_ASIDE: Final = 1000
"""Records by which counting may be wrong."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One side of a partition: offsets [start, end) of a log that begins at `log_start`."""

    log: PartitionLog
    start: int
    end: int
    log_start: int


class Begin(NamedTuple):
    """Where to begin on both sides. `expired`: records before it were copied, and one side does not have them any more."""

    source: int
    target: int
    expired: bool


async def begin(source: Stretch, target: Stretch, *, first_run: bool, last: int | None) -> Begin:
    """`last`: only so many records before the end, None for all. Expired, Unreadable."""
    if last is None and first_run and target.log_start == 0 and await _begin_alike(source, target):
        return Begin(source.start, target.start, expired=False)
    source_from, there = await _counted(source, last)
    skipped = 0 if last is None else max(0, there - last)
    target_from, copies = await _counted(target, None if last is None else there - skipped + _ASIDE)
    excess = copies - (there - skipped)
    lost = -excess if excess < 0 and target.log_start > 0 and target_from == target.start else 0
    at = await source.log.behind(source_from, source.end, skipped + lost)
    number, other = await _copy_of(source, at, target, target_from, max(0, excess))
    expired = last is None and (lost > 0 or (first_run and number > 0))
    return Begin(at, other, expired)


async def _begin_alike(source: Stretch, target: Stretch) -> bool:
    ours = await source.log.first(source.start, source.end, 1)
    theirs = await target.log.first(target.start, target.end, 1)
    return _sums(ours) == _sums(theirs)


async def _counted(side: Stretch, wanted: int | None) -> tuple[int, int]:
    """(offset, how many records from there to the end): at least `wanted`, or all that there are."""
    width = side.end - side.start if wanted is None else wanted + wanted // 16 + 128
    while True:
        start = max(side.start, side.end - width)
        count = await side.log.count(start, side.end, RECORDS_OF_RANGE)
        if start == side.start or (wanted is not None and count >= wanted):
            return start, count
        width *= 4


async def _copy_of(source: Stretch, at: int, target: Stretch, target_from: int, expected: int) -> tuple[int, int]:
    """(number, target offset) of the copy of the record at `at`. Counted from `target_from` on it is number `expected`, unless the records
    say otherwise."""
    before = max(0, expected - _ASIDE)
    needle = await source.log.first(at, source.end, _NEEDLE)
    hay_from = await target.log.behind(target_from, target.end, before)
    hay = await target.log.first(hay_from, target.end, expected - before + _ASIDE + _NEEDLE)
    found = nearest(_sums(needle), _sums(hay), expected - before)
    index = expected - before if found is None else found
    return before + index, hay[index].first_offset if index < len(hay) else target.end


def _sums(records: Sequence[RangeDigest]) -> list[int]:
    return [record.crc for record in records]
