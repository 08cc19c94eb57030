"""Rates over the last 10 s from counters that only grow. Used for each unit's `throughput`; pure, time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

WINDOW_S: Final = 10.0
_RATES: Final = {"records_per_s": "records_out", "bytes_in_per_s": "bytes_in", "bytes_out_per_s": "bytes_out"}


class Throughput:
    """`note` with each report; `rates` gives the keys of api.md §7. A counter that falls (a new run) begins anew."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, dict[str, int]]] = deque()

    def note(self, now: float, counters: Mapping[str, int]) -> None:
        sample = {counter: counters.get(counter, 0) for counter in _RATES.values()}
        if self._samples and any(sample[key] < self._samples[-1][1][key] for key in sample):
            self._samples.clear()
        self._samples.append((now, sample))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self._window_s:
            self._samples.popleft()

    def rates(self) -> dict[str, float]:
        """Zeros until there are two samples."""
        rates = {"window_ms": self._window_s * 1000, **dict.fromkeys(_RATES, 0.0)}
        if len(self._samples) >= 2:
            (began, first), (ended, last) = self._samples[0], self._samples[-1]
            if ended > began:
                rates |= {rate: (last[counter] - first[counter]) / (ended - began) for rate, counter in _RATES.items()}
        return rates


def stopped(window_s: float = WINDOW_S) -> dict[str, float]:
    """What a unit that stands still reports."""
    return {"window_ms": window_s * 1000, **dict.fromkeys(_RATES, 0.0)}
