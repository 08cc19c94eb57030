"""One record each second in each of many partitions: the load of everything that is wide."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench.common.sending import Sender
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.encode import Frame, Record, batch

_TICKS: Final = 20
"""Of a second; in each a share of the partitions gets its record."""
_VALUE: Final = b"x" * 100


class Trickle:
    """Spread over the second; what could not be sent in time is left out, not made up for. `sent` counts records."""

    def __init__(self, sender: Sender, tps: list[TopicPartition]) -> None:
        self._sender = sender
        share = -(-len(tps) // _TICKS)
        self._shares = [tps[at : at + share] for at in range(0, len(tps), share)]
        self.sent = 0

    async def run(self) -> None:
        """Until cancelled."""
        tick, began = 0, time.monotonic()
        while True:
            tps = self._shares[tick % len(self._shares)]
            blob = batch([Record(0, _VALUE, timestamp=time.time_ns() // 1_000_000)], Frame())
            for tp in tps:
                self._sender.put(tp, blob)
            self.sent += len(tps)
            await self._sender.until(2 * len(tps))
            tick += 1
            await asyncio.sleep(max(0.0, began + tick / len(self._shares) - time.monotonic()))
