"""Measures how long the event loop is held (house rule 8: never more than 5 ms). Exact, and free while the loop is idle: the loop's
selector notes the time from waking up to asking for work again, so no hold is missed and no timer wakes a quiet process. The gauge
shows the worst of the last 10 s. `app` makes every process's loop with it; the heartbeat reads it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import LOOP_LAG

WINDOW_S: Final = 10.0
_SHARE_S: Final = 1.0


class LoopLag:
    """The longest holds of one loop: of each second the worst, for 10 s."""

    def __init__(self) -> None:
        self._worst: deque[tuple[float, float]] = deque()

    def note(self, now: float, held_s: float) -> None:
        """One round of the loop ended at `now` (monotonic seconds)."""
        if self._worst and now - self._worst[-1][0] < _SHARE_S:
            if held_s > self._worst[-1][1]:
                self._worst[-1] = (self._worst[-1][0], held_s)
        else:
            self._worst.append((now, held_s))
            while now - self._worst[0][0] > WINDOW_S:
                self._worst.popleft()

    def measure(self, now: float, meters: Meters) -> None:
        """Set the gauge."""
        meters.set(LOOP_LAG, max((held for at, held in self._worst if now - at <= WINDOW_S), default=0.0))


class _MeasuringSelector(selectors.DefaultSelector):
    """Tells how long the loop was away between two questions for work."""

    def __init__(self, lag: LoopLag, now: Callable[[], float]) -> None:
        super().__init__()
        self._lag = lag
        self._now = now
        self._woke_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._woke_at is not None:
            now = self._now()
            self._lag.note(now, now - self._woke_at)
        ready = super().select(timeout)
        self._woke_at = self._now()
        return ready


PROCESS_LAG: Final = LoopLag()
"""Of this process's one loop."""


def measured_loop(lag: LoopLag = PROCESS_LAG, now: Callable[[], float] = time.monotonic) -> asyncio.AbstractEventLoop:
    """A new event loop that is measured: the `loop_factory` of each process."""
    return asyncio.SelectorEventLoop(_MeasuringSelector(lag, now))
