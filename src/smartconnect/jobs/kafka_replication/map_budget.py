"""The memory of all offset maps of a worker (kafka-replication.md §7): open runs are sealed the earlier the more maps there are, and the
longest maps are thinned. Shared by its units."""

from __future__ import annotations

from heapq import heapify, heapreplace
from typing import Final

from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
from smartconnect.jobs.kafka_replication.position_codec import RUNS_OF_CHUNK

DEFAULT_LIMIT: Final = 32 << 20
_OPEN_SHARE: Final = 0.25
_OPEN_RUN_BYTES: Final = 160
_LEAST_OPEN: Final = 4


class MapBudget:
    """`limit` bytes for all maps that it was told to keep: a quarter for their open runs, the rest for their sealed parts."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._maps: set[OffsetMap] = set()

    def keep(self, offset_map: OffsetMap) -> None:
        self._maps.add(offset_map)

    def forget(self, offset_map: OffsetMap) -> None:
        self._maps.discard(offset_map)

    @property
    def nbytes(self) -> int:
        """Of the sealed parts."""
        return sum(offset_map.nbytes for offset_map in self._maps)

    def enforce(self, most: int = 256) -> None:
        """Share out the open runs, and thin the longest maps while there is too much, at most so many steps: what they change goes with
        the next commits, which must stay small. Called once a second and unit."""
        open_runs = int(self.limit * _OPEN_SHARE / (_OPEN_RUN_BYTES * max(1, len(self._maps))))
        for offset_map in self._maps:
            offset_map.most_open = max(_LEAST_OPEN, min(RUNS_OF_CHUNK, open_runs))
        excess = self.nbytes - int(self.limit * (1 - _OPEN_SHARE))
        if excess <= 0:
            return
        longest = [(-offset_map.nbytes, id(offset_map), offset_map) for offset_map in self._maps if offset_map.can_thin]
        heapify(longest)
        while most and excess > 0 and longest:
            before, key, offset_map = longest[0]
            offset_map.thin()
            excess += before + offset_map.nbytes
            most -= 1
            heapreplace(longest, (-offset_map.nbytes if offset_map.can_thin else 0, key, offset_map))
            if not longest[0][0]:
                return
