"""When a transaction ends (kafka-replication.md §6.4, "When"): early on a quiet topic, rarely on a busy one, and never so often that
markers are a burden: to write thousands of them takes a broker seconds, and most of the time has to be left for data. Pure: time comes from
the clock that is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from smartconnect.domain.kafka_replication_spec import ReplicationOptions

_CATCHING_UP_S: Final = 1.0
_LONGEST_S: Final = 5.0
"""What one record a second in each of thousands of partitions needs for a marker to four records. Up to 200 partitions never get there."""
_BUSY_MARKERS_PER_S: Final = 200
_MARKER_SHARE: Final = 0.25
_COMMIT_TIMES: Final = 4
_LONGEST_COSTLY_S: Final = 10.0
_OPENS: Final = 3
_FIRST_STRETCH_S: Final = 0.01


class Pace:
    """One incarnation's. `begin` with the first batch of a transaction, `committed` after its end. Commits lie at least `commit_min_ms`
    apart, further where markers are a burden. The first transaction is never stretched to catch up: whoever has made a task, or lost an
    owner, waits for its end."""

    def __init__(self, options: ReplicationOptions, now: Callable[[], float]) -> None:
        self._now = now
        self._least_s, self._base_s = options.commit_min_ms / 1000, options.commit_interval_ms / 1000
        self._apart_s = self._least_s
        self._began = self._ended = now() - _LONGEST_S
        self._commit_s = 0.0
        self._opens_s: deque[float] = deque([0.0], maxlen=_OPENS)
        self._catching_up = self._has_committed = False
        self._records = 0

    def begin(self, *, catching_up: bool) -> None:
        self._began, self._catching_up = self._now(), catching_up and self._has_committed

    def opened(self, took_s: float) -> None:
        """The target let the first partitions of a transaction in after so long: before that it writes the markers of the last one. The
        shortest of some counts: once may be a broker that was away."""
        self._opens_s.append(took_s)

    def counted(self, records: int) -> None:
        """Records that reached the target."""
        self._records += records

    def is_due(self, *, quiet: bool) -> bool:
        """End now? `quiet`: everything that was fetched is acknowledged."""
        now = self._now()
        return now >= self._latest() or (quiet and now >= self._earliest())

    def wait(self, *, quiet: bool) -> float:
        """Seconds until `is_due` may change by itself; at least a millisecond."""
        until = min(self._earliest(), self._latest()) if quiet else self._latest()
        return max(0.001, until - self._now())

    def committed(self, began: float, *, markers: int) -> None:
        """A commit that took from `began` until now wrote so many markers."""
        now = self._now()
        took = now - began
        self._commit_s = took if self._commit_s == 0 else 0.8 * self._commit_s + 0.2 * took
        per_s = markers / max(0.001, now - self._ended)
        if per_s > _BUSY_MARKERS_PER_S and markers > _MARKER_SHARE * self._records:
            self._apart_s = min(_LONGEST_S, max(self._apart_s, _FIRST_STRETCH_S) * 1.5)
        else:
            self._apart_s = max(self._least_s, self._apart_s / 1.1)
        self._ended, self._records, self._has_committed = now, 0, True

    @property
    def _costly_s(self) -> float:
        return min(_LONGEST_COSTLY_S, _COMMIT_TIMES * (self._commit_s + min(self._opens_s)))

    def _earliest(self) -> float:
        return self._ended + max(self._apart_s, self._costly_s)

    def _latest(self) -> float:
        return self._began + max(self._apart_s, _CATCHING_UP_S if self._catching_up else self._base_s, self._costly_s)
