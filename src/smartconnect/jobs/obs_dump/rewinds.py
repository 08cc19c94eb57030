"""Partitions that have to go back to their position, because an upload was lost before its commit (obs-dump.md §8): what is not committed
of them is forgotten, after a rest, and in the loop's own time. Never while a transaction names the partition, or an object of it is about
to be named."""

from __future__ import annotations

from collections.abc import Callable

from smartconnect.domain.clock import Clock
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.sealing import Sealer


class Rewinds:
    """One incarnation's. `again` fetches a partition from where it was rewound to."""

    def __init__(self, clock: Clock, sealer: Sealer, again: Callable[[Partition], None]) -> None:
        self._clock, self._sealer, self._again = clock, sealer, again
        self._due: dict[Partition, float] = {}

    def add(self, partition: Partition, resting_s: float) -> None:
        """It is not fetched any more, and not until it was rewound."""
        partition.rewinding = True
        self._due[partition] = self._clock.monotonic() + resting_s

    def look(self, *, at_once: bool) -> None:
        """Rewind what may be; `at_once`: no rest is waited for."""
        now = self._clock.monotonic()
        for partition, at in list(self._due.items()):
            committing = bool(partition.sealed) and partition.sealed[0].entry is not None
            if partition.in_transaction or committing or (now < at and not at_once):
                continue
            del self._due[partition]
            self._sealer.rewind(partition)
            partition.rewinding = False
            self._again(partition)
