"""The meters of one process: plain numbers in a dictionary, cheap to change (no lock: the event loop alone changes them), given out
as a snapshot that fits into a line of JSON. Workers send theirs with each heartbeat; nobody imports a metrics library for it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Final

from smartconnect.telemetry.names import CPU_SECONDS, RESIDENT_BYTES, Metric

Sample = tuple[str, tuple[str, ...], float]
"""(metric name, label values in the metric's order, value)"""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Meters:
    """Label values are given in the order of the metric's labels; a wrong number of them is a ValueError."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}

    def add(self, metric: Metric, amount: float = 1.0, labels: Sequence[str] = ()) -> None:
        """Grow a counter."""
        key = _key(metric, labels)
        self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """Set a gauge (or a counter that somebody else counts)."""
        self._values[_key(metric, labels)] = float(value)

    def observe(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """One more value of a histogram. Its buckets are cumulative, as Prometheus wants them."""
        at = tuple(_key(metric, labels)[1])
        for bound in (*metric.buckets, math.inf):
            key = (f"{metric.name}_bucket", (*at, "+Inf" if bound == math.inf else f"{bound:g}"))
            self._values[key] = self._values.get(key, 0.0) + (value <= bound)
        for end, amount in (("sum", value), ("count", 1.0)):
            key = (f"{metric.name}_{end}", at)
            self._values[key] = self._values.get(key, 0.0) + amount

    def value(self, metric: Metric, labels: Sequence[str] = ()) -> float:
        """The present value, 0 when never touched."""
        return self._values.get(_key(metric, labels), 0.0)

    def forget(self, prefix: Sequence[str], metrics: Sequence[Metric]) -> None:
        """Drop all samples of these metrics whose first label values are `prefix`: the thing measured is gone."""
        names = {name for metric in metrics for name in metric.series}
        head = tuple(prefix)
        gone = [key for key in self._values if key[0] in names and key[1][: len(head)] == head]
        for key in gone:
            del self._values[key]

    def snapshot(self) -> list[Sample]:
        """All samples, the process's memory and CPU time included."""
        self.set(RESIDENT_BYTES, resident_bytes())
        times = os.times()
        self.set(CPU_SECONDS, times.user + times.system)
        return [(name, labels, value) for (name, labels), value in self._values.items()]


def _key(metric: Metric, labels: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has labels {metric.labels}, got {tuple(labels)}")
    return metric.name, tuple(labels)


def resident_bytes() -> int:
    """Resident memory of this process, from /proc; 0 where that does not exist."""
    try:
        fd = os.open("/proc/self/statm", os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return int(os.read(fd, 128).split()[1]) * _PAGE
    finally:
        os.close(fd)


PROCESS_METERS: Final = Meters()
"""Those that this process sends up with its heartbeat; job code measures here."""
