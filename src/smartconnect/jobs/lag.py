"""Lag in time: since when something has been waiting, from the moments at which the source's end was seen (kafka-replication.md §12,
api.md §7). Used by the meters of jobs; pure."""

from __future__ import annotations

from typing import Final

_SAMPLES: Final = 64


class EndsSeen:
    """Where a partition of the source ended, and when that was first seen; at most 64 samples, thinned from the middle."""

    __slots__ = ("_waiting", "end")

    def __init__(self) -> None:
        self.end: int | None = None
        self._waiting: list[tuple[int, int]] = []  # a deque would be ten times as large, and mostly there is nothing

    def saw(self, end: int, position: int | None, now_ms: int) -> None:
        """The source ends at `end` now; what lies between `position` and it is not durable yet."""
        self.end = end
        last = self._waiting[-1][0] if self._waiting else (position or 0)
        if end > last:
            self._waiting.append((end, now_ms))
            if len(self._waiting) > _SAMPLES:
                kept = self._waiting
                self._waiting = kept[::2] if len(kept) % 2 else [*kept[::2], kept[-1]]

    def durable(self, position: int | None) -> None:
        """Forget what lies before the position."""
        while self._waiting and position is not None and self._waiting[0][0] <= position:
            del self._waiting[0]

    def lag(self, position: int | None) -> int | None:
        """Offsets from the position to the end; None while either is not known: it is never shown as nothing."""
        if self.end is None or position is None:
            return None
        return max(0, self.end - position)

    def lag_ms(self, position: int | None, now_ms: int) -> int:
        """How long the oldest of what is missing has been waiting, as far as it was seen."""
        for end, seen in self._waiting:
            if end > (position or 0):
                return max(0, now_ms - seen)
        return 0
