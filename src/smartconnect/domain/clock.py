"""Time as it is passed in: nobody below the composition root asks the machine for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic`: seconds that only grow, for intervals. `wall`: seconds since the epoch, for names and what people read."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

    def now_ms(self) -> int:
        """Wall-clock epoch ms."""
        return int(self.wall() * 1000)
