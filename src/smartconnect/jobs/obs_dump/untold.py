"""Partitions of which something is not known because their leaders have not told it: they are asked at once, and again every refresh
interval as long as some are left. Beside the loop, which goes on with all others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from smartconnect.jobs.obs_dump.partition import Partition


class Untold:
    """`partitions` are those left; `ask` asks for them, and takes off whose leaders have told."""

    def __init__(self, every_s: float, ask: Callable[[], Awaitable[None]]) -> None:
        self.partitions: set[Partition] = set()
        self._every_s, self._ask = every_s, ask
        self._news = asyncio.Event()

    def add(self, partitions: Iterable[Partition]) -> None:
        self.partitions.update(partitions)
        self._news.set()

    async def run(self) -> None:
        """For the incarnation's whole life."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._ask()
            while self.partitions:
                await asyncio.sleep(self._every_s)
                await self._ask()
