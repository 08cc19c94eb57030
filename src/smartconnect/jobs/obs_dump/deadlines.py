"""When a partition has to be looked at again: one heap for all, so that thousands of open objects cost nothing until their time has come.

Intervals are shortened by up to `jitter`, fixed for each partition, so that partitions that began together do not cut together.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final

from fastcrc import crc32

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.kafka.types import TopicPartition

_SOONEST_S: Final = 0.02


def interval_of(spec: ObsDumpSpec, tp: TopicPartition) -> float:
    """Seconds from an object's first record to its cut, for this partition: `deliver_time_interval` less its share of the jitter."""
    share = crc32.iscsi(str(tp).encode()) / 2**32
    return spec.deliver_time_interval_s * (1 - spec.options.jitter * share)


class Deadlines:
    """Monotonic times at which partitions are due. A deadline that has become pointless is the receiver's to see."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Partition]] = []
        self._order = count()

    def add(self, at: float, partition: Partition) -> None:
        heapq.heappush(self._heap, (at, next(self._order), partition))

    def due(self) -> list[Partition]:
        """Partitions whose time has come, earliest first."""
        now = self._clock.monotonic()
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def next_in(self) -> float:
        """Seconds until the next deadline; never less than a moment, so that whoever waits does not spin."""
        if not self._heap:
            return float("inf")
        return max(_SOONEST_S, self._heap[0][0] - self._clock.monotonic())
