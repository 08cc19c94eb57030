"""What `/readyz` and `/metrics` are made of in the one process that answers them: the parent tells every second how all processes of
this machine are, and this process adds its own meters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from smartconnect.engine.protocol import Fleet
from smartconnect.telemetry.meters import Meters, Sample
from smartconnect.telemetry.prometheus import render

STALE_S: Final = 10.0


class FleetView:
    """`own`: the name of this process; `now`: monotonic seconds."""

    def __init__(self, own: str, meters: Meters, now: Callable[[], float]) -> None:
        self._own = own
        self._meters = meters
        self._now = now
        self._fleet = Fleet(())
        self._heard_at: float | None = None

    def heard(self, fleet: Fleet) -> None:
        self._fleet, self._heard_at = fleet, self._now()

    def problems(self) -> Sequence[str]:
        """Why the workers of this machine are not usable, in sentences; empty when they are. One that works is enough."""
        if self._heard_at is None or self._now() - self._heard_at > STALE_S:
            return ["nothing is known of the workers yet"]
        workers = [process for process in self._fleet.processes if process.name.startswith("worker-")]
        if any(worker.alive and not worker.trouble for worker in workers):
            return []
        return [f"{w.name}: {w.trouble if w.alive else 'is not running, or does not answer'}" for w in workers]

    def metrics(self) -> str:
        """Prometheus text of all processes of this machine."""
        sources: dict[str, list[Sample]] = {
            process.name: [(str(name), tuple(map(str, labels)), float(value)) for name, labels, value in process.meters]
            for process in self._fleet.processes
        }
        sources.setdefault(self._own, []).extend(self._meters.snapshot())
        return render(sources)
