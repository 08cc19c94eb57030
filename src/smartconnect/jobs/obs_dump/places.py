"""Places for part uploads (obs-dump.md §9, architecture.md §8.7). Every unit has one of its own, and all take turns with the shared ones,
so that a unit whose uploads hang, or that has many to make, cannot keep the others from uploading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class UploadPlaces:
    """The places of one worker process: `shared` beside each unit's own."""

    def __init__(self, shared: int) -> None:
        self._free = shared
        self._turns: deque[UnitPlaces] = deque()

    def join(self) -> UnitPlaces:
        unit = UnitPlaces(self)
        self._turns.append(unit)
        return unit

    def leave(self, unit: UnitPlaces) -> None:
        self._turns.remove(unit)

    def take(self) -> bool:
        """A shared place, if one is free."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give(self) -> None:
        """A shared place is free: the unit that waits and had its turn longest ago gets it."""
        for _ in range(len(self._turns)):
            unit = self._turns[0]
            self._turns.rotate(-1)
            if unit.hand(self.give):
                return
        self._free += 1


class UnitPlaces:
    """One unit's view of the places."""

    def __init__(self, places: UploadPlaces) -> None:
        self._places = places
        self._own_free = True
        self._waiting: deque[asyncio.Future[Callable[[], None]]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for the duration of one upload of a part."""
        give_back = await self._take()
        try:
            yield
        finally:
            give_back()

    def hand(self, give_back: Callable[[], None]) -> bool:
        """Pass a place to the first that waits here; False if nobody does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(give_back)
                return True
        return False

    def leave(self) -> None:
        """The incarnation is over; nobody of it waits any more."""
        self._places.leave(self)

    async def _take(self) -> Callable[[], None]:
        if self._own_free:
            self._own_free = False
            return self._give_own
        if self._places.take():
            return self._places.give
        waiter: asyncio.Future[Callable[[], None]] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                waiter.result()()
            raise

    def _give_own(self) -> None:
        if not self.hand(self._give_own):
            self._own_free = True
