"""Two stretches of log against each other: range by range as long as they are equal, record by record where they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from smartconnect.jobs.kafka_replication.verify.align import RECORDS_OF_RANGE, Stretch
from smartconnect.jobs.kafka_replication.verify.diff import first_difference
from smartconnect.jobs.kafka_replication.verify.log import Expired
from smartconnect.kernels import RangeDigest

_LOOKED_AT: Final = 2 * RECORDS_OF_RANGE


class Difference(NamedTuple):
    """At these offsets both sides differ: `missing` records of the source stand where `extra` of the target do; both None where the two do
    not become alike again, as far as was looked."""

    source: int
    target: int
    missing: int | None
    extra: int | None


class Comparison:
    """Of one partition. `records`: so many were found equal."""

    def __init__(self, source: Stretch, target: Stretch) -> None:
        self._source, self._target = source, target
        self.records = 0

    async def differences(self, source: int, target: int) -> AsyncGenerator[Difference]:
        """From this pair of offsets on, in order; goes on behind each difference where both sides are alike again. Expired, Unreadable."""
        at: tuple[int, int] | None = (source, target)
        while at is not None and (unequal := await self._equal_from(*at)) is not None:
            difference, at = await self._looked_into(*unequal)
            yield difference

    async def _equal_from(self, source: int, target: int) -> tuple[int, int] | None:
        """Where the first unequal pair of ranges begins; None if there is none."""
        ours, theirs = self._source, self._target
        async with (
            aclosing(ours.log.ranges(source, ours.end, RECORDS_OF_RANGE)) as left,
            aclosing(theirs.log.ranges(target, theirs.end, RECORDS_OF_RANGE)) as right,
        ):
            while True:
                one, other = await _both(left, right)
                if one is None and other is None:
                    return None
                if one is None or other is None or (one.count, one.crc) != (other.count, other.crc):
                    return ours.end if one is None else one.first_offset, theirs.end if other is None else other.first_offset
                self.records += one.count

    async def _looked_into(self, source: int, target: int) -> tuple[Difference, tuple[int, int] | None]:
        """The first difference from there on, and where to go on behind it, None at the end."""
        left = await self._source.log.first(source, self._source.end, _LOOKED_AT)
        right = await self._target.log.first(target, self._target.end, _LOOKED_AT)
        found = first_difference(
            [record.crc for record in left],
            [record.crc for record in right],
            left_ends=len(left) < _LOOKED_AT,
            right_ends=len(right) < _LOOKED_AT,
        )
        if found is None:  # compaction has changed one side since the ranges were read
            raise Expired
        self.records += found.at
        at = _offset(left, found.at, self._source.end), _offset(right, found.at, self._target.end)
        difference = Difference(*at, found.missing, found.extra)
        if found.missing is None or found.extra is None:
            return difference, None
        return difference, (
            _offset(left, found.at + found.missing, self._source.end),
            _offset(right, found.at + found.extra, self._target.end),
        )


async def _both(
    left: AsyncGenerator[RangeDigest], right: AsyncGenerator[RangeDigest]
) -> tuple[RangeDigest | None, RangeDigest | None]:
    """The next range of both sides at once; what one of them raises counts only when the other rests."""
    one, other = await asyncio.gather(anext(left, None), anext(right, None), return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other


def _offset(records: list[RangeDigest], index: int, end: int) -> int:
    return records[index].first_offset if index < len(records) else end
