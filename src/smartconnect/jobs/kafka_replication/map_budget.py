"""The memory of all offset maps of a worker, held by thinning the longest one (kafka-replication.md §7). Shared by its units."""

from __future__ import annotations

from smartconnect.jobs.kafka_replication.offset_map import OffsetMap

DEFAULT_LIMIT = 32 << 20


class MapBudget:
    """`limit` bytes for the sealed parts of all maps that it was told to keep."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._maps: set[OffsetMap] = set()

    def keep(self, offset_map: OffsetMap) -> None:
        self._maps.add(offset_map)

    def forget(self, offset_map: OffsetMap) -> None:
        self._maps.discard(offset_map)

    @property
    def nbytes(self) -> int:
        return sum(offset_map.nbytes for offset_map in self._maps)

    def enforce(self, most: int = 64) -> None:
        """Thin the longest map while there is too much, at most so many steps: what they change goes with the next commit, which must
        stay small. Called with each commit."""
        excess = self.nbytes - self.limit
        if excess <= 0:
            return
        longest = max(self._maps, key=lambda offset_map: offset_map.nbytes)
        before = longest.nbytes
        while most and longest.can_thin and before - longest.nbytes < excess:
            longest.thin()
            most -= 1
