"""Lag in time: since when something has been waiting, from the moments at which the source's end was seen (kafka-replication.md §12,
api.md §7). Used by the meters of jobs; pure."""

from __future__ import annotations

from array import array
from typing import Final

_SAMPLES: Final = 64


class EndsSeen:
    """Where a partition of the source ended, and when that was first seen; at most 64 samples, thinned from the middle."""

    __slots__ = ("_waiting", "end")

    def __init__(self) -> None:
        self.end: int | None = None
        self._waiting = array("q")  # end, moment, end, moment …: a sixth of what tuples take, with thousands of partitions

    def saw(self, end: int, position: int | None, now_ms: int) -> None:
        """The source ends at `end` now; what lies between `position` and it is not durable yet."""
        self.end = end
        waiting = self._waiting
        last = waiting[-2] if waiting else (position or 0)
        if end > last:
            waiting.extend((end, now_ms))
            if len(waiting) > 2 * _SAMPLES:
                self._waiting = array("q")
                for at in range(0, len(waiting), 4):  # every other one; the last stays, as their number is odd now
                    self._waiting.extend(waiting[at : at + 2])

    def durable(self, position: int | None) -> None:
        """Forget what lies before the position."""
        if position is not None and self._waiting:
            del self._waiting[: self._first_beyond(position)]

    def lag(self, position: int | None) -> int | None:
        """Offsets from the position to the end; None while either is not known: it is never shown as nothing."""
        if self.end is None or position is None:
            return None
        return max(0, self.end - position)

    def lag_ms(self, position: int | None, now_ms: int) -> int:
        """How long the oldest of what is missing has been waiting, as far as it was seen."""
        at = self._first_beyond(position or 0)
        return max(0, now_ms - self._waiting[at + 1]) if at < len(self._waiting) else 0

    def _first_beyond(self, position: int) -> int:
        """Where the first end behind the position stands; behind everything if there is none."""
        at = 0
        while at < len(self._waiting) and self._waiting[at] <= position:
            at += 2
        return at
