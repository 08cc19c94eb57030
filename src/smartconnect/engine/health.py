"""Whether the registry answers, as this process sees it. Reconciler and reporter tell it; the gauge and /readyz read it. An outage
stops nothing that runs: nobody asks this before moving data.
"""

from __future__ import annotations

import enum

from smartconnect.domain.clock import Clock
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import REGISTRY_UNREACHABLE

log = get_logger()


class Way(enum.StrEnum):
    """Reading may work while writing does not (somebody holds the write lock): each is an outage of its own."""

    READ = "read"
    WRITE = "write"


class RegistryHealth:
    """One for each process."""

    def __init__(self, clock: Clock, meters: Meters) -> None:
        self._clock = clock
        self._meters = meters
        self._down_since: dict[Way, float] = {}
        self._troubles: dict[Way, str] = {}

    @property
    def trouble(self) -> str:
        """What hinders, in a sentence; "" when nothing does."""
        return next(iter(self._troubles.values()), "")

    def answered(self, way: Way) -> None:
        since = self._down_since.pop(way, None)
        self._troubles.pop(way, None)
        if since is not None:
            log.info("the registry answers again", way=way.value, after_s=round(self._clock.monotonic() - since, 1))

    def silent(self, way: Way, error: Exception) -> None:
        """Logged once for each outage."""
        self._troubles[way] = str(error) or "the registry does not answer"
        if way not in self._down_since:
            self._down_since[way] = self._clock.monotonic()
            log.warning("the registry does not answer; running units go on", way=way.value, error=self._troubles[way])

    def measure(self) -> None:
        """Set the gauge, once for each heartbeat."""
        now = self._clock.monotonic()
        self._meters.set(REGISTRY_UNREACHABLE, max((now - since for since in self._down_since.values()), default=0.0))
