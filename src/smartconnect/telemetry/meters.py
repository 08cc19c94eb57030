"""The meters of one process: plain numbers in a dictionary, cheap to change (no lock: the event loop alone changes them), given out
as a snapshot that fits into a line of JSON. Workers send theirs with each heartbeat; nobody imports a metrics library for it.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from smartconnect.telemetry.names import CPU_SECONDS, RESIDENT_BYTES, Metric

Sample = tuple[str, tuple[str, ...], float]
"""(metric name, label values in the metric's order, value)"""

_Key = tuple[str, tuple[str, ...]]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class _HistogramKeys(NamedTuple):
    """Of one histogram's samples; `buckets` in the order of their bounds, the infinite one last."""

    buckets: list[_Key]
    sum: _Key
    count: _Key  # type: ignore[assignment]  # hides tuple.count, which makes no sense here


class Meters:
    """Label values are given in the order of the metric's labels; a wrong number of them is a ValueError."""

    def __init__(self) -> None:
        self._values: dict[_Key, float] = {}

    def add(self, metric: Metric, amount: float = 1.0, labels: Sequence[str] = ()) -> None:
        """Grow a counter."""
        key = _key(metric, labels)
        self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """Set a gauge (or a counter that somebody else counts)."""
        self._values[_key(metric, labels)] = float(value)

    def observe(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """One more value of a histogram. Its buckets are cumulative, as Prometheus wants them."""
        keys, values = _histogram(metric, tuple(labels)), self._values
        if keys.count not in values:
            values.update(dict.fromkeys((keys.sum, keys.count, *keys.buckets), 0.0))
        for key in keys.buckets[bisect_left(metric.buckets, value) :]:
            values[key] += 1.0
        values[keys.sum] += value
        values[keys.count] += 1.0

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


def _key(metric: Metric, labels: Sequence[str]) -> _Key:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has labels {metric.labels}, got {tuple(labels)}")
    return metric.name, tuple(labels)


@lru_cache(maxsize=256)
def _histogram(metric: Metric, labels: tuple[str, ...]) -> _HistogramKeys:
    name, at = _key(metric, labels)
    bounds = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
    return _HistogramKeys([(f"{name}_bucket", (*at, bound)) for bound in bounds], (f"{name}_sum", at), (f"{name}_count", at))


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
