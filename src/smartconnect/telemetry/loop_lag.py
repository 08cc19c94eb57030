"""Measures how long the event loop is held (house rule 8: never more than 5 ms): a timer that should fire every 20 ms and does so
late by the lag. The gauge shows the worst of the last 10 s. Runs in every process that moves data or answers requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from smartconnect.telemetry.meters import Meters
from smartconnect.telemetry.names import LOOP_LAG

TICK_S: Final = 0.02
WINDOW_S: Final = 10.0
_SHARE_S: Final = 1.0


class LoopLag:
    """`run` until cancelled. Costs about 50 wake-ups a second while the loop is busy anyway, 10 while it is idle."""

    def __init__(self, meters: Meters, *, tick_s: float = TICK_S) -> None:
        self._meters = meters
        self._tick_s = tick_s
        self._worst: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._tick_s
            await asyncio.sleep(self._tick_s)
            now = loop.time()
            self.note(now, max(0.0, now - due))

    def note(self, now: float, lag: float) -> None:
        """One measurement. Kept: the worst of each second, for 10 s."""
        if self._worst and now - self._worst[-1][0] < _SHARE_S:
            self._worst[-1] = (self._worst[-1][0], max(self._worst[-1][1], lag))
        else:
            self._worst.append((now, lag))
        while now - self._worst[0][0] > WINDOW_S:
            self._worst.popleft()
        self._meters.set(LOOP_LAG, max(worst for _, worst in self._worst))
