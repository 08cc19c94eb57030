"""How long records are on their way, as histograms of `/metrics` (kafka-replication.md §11): one batch at a time is followed, from when
it is here until readers of the target can see it. Called by the intake (`received`) and the runner (`visible`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from smartconnect.domain.clock import Clock
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import REPLICATION_LATENCY, REPLICATION_TRANSIT

_GIVEN_UP_S: Final = 60.0
"""A partition may be blocked or gone: another one is followed then."""


@dataclass(frozen=True, slots=True)
class _Followed:
    partition: Partition
    until: int
    timestamp_ms: int
    since: float


class Freshness:
    """One incarnation's."""

    def __init__(self, task_id: str, clock: Clock) -> None:
        self._labels, self._clock = (task_id,), clock
        self._followed: _Followed | None = None

    def received(self, partition: Partition, until: int, timestamp_ms: int) -> None:
        """A batch whose records end before offset `until` is about to be sent; −1: it has no time."""
        now = self._clock.monotonic()
        if timestamp_ms >= 0 and (self._followed is None or now - self._followed.since > _GIVEN_UP_S):
            self._followed = _Followed(partition, until, timestamp_ms, now)

    def visible(self, partition: Partition, up_to: int) -> None:
        """Readers of the target see what lies before source offset `up_to`."""
        followed = self._followed
        if followed is None or followed.partition is not partition or up_to < followed.until:
            return
        self._followed = None
        PROCESS_METERS.observe(REPLICATION_TRANSIT, self._clock.monotonic() - followed.since, self._labels)
        PROCESS_METERS.observe(REPLICATION_LATENCY, max(0.0, (self._clock.now_ms() - followed.timestamp_ms) / 1000), self._labels)
