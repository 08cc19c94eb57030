"""Memory of one worker process, shared fairly by the dump units in it (obs-dump.md §9, architecture.md §8.7).

Half of the budget is common, the other half is divided into guaranteed shares, one for each unit: a unit may take from the common half
only what leaves everybody else's guarantee untouched, so no unit can starve another. Frames are *admitted* before they are fetched and
may wait for it; blocks are *charged* when decoding needs them and never wait (what has been fetched must be decodable), the brake is then
that nothing more is admitted.

Blocks are taken in worker threads, everything else happens in the event loop: counters are under one lock, waiters live in the loop.
"""

from __future__ import annotations

import asyncio
from threading import Lock

EARLY_PARTS_AT = 0.70
EARLY_CUTS_AT = 0.85
_COMMON = 0.5


class MemoryBudget:
    """`total` bytes of a worker."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.lock = Lock()
        self.used = 0
        self._shares: set[MemoryShare] = set()

    def join(self) -> MemoryShare:
        """A share for one incarnation of a unit; leave it with `MemoryShare.leave`."""
        share = MemoryShare(self)
        with self.lock:
            self._shares.add(share)
        return share

    def discard(self, share: MemoryShare) -> None:
        with self.lock:
            self._shares.discard(share)
            self.used -= share.used
            share.left = True
        self.wake_all()

    @property
    def guarantee(self) -> int:
        """Bytes that each unit may always use."""
        return int(self.total * (1 - _COMMON) / max(1, len(self._shares)))

    def fits(self, share: MemoryShare, nbytes: int) -> bool:
        """May this unit take `nbytes` without touching what is guaranteed to the others?"""
        guarantee = self.guarantee
        if share.used + nbytes <= guarantee:
            return True
        reserved = sum(max(0, guarantee - other.used) for other in self._shares if other is not share)
        return self.used + nbytes <= self.total - reserved

    @property
    def at_ease(self) -> bool:
        """So little is used that no unit's pressure can be above one half, whatever the others may claim: a quarter."""
        return self.used * 4 <= self.total

    def pressure(self, share: MemoryShare) -> float:
        """How full the memory is that this unit may use, 0 … 1 and beyond."""
        guarantee = self.guarantee
        with self.lock:
            reserved = sum(max(0, guarantee - other.used) for other in self._shares if other is not share)
            others = self.used - share.used
        return share.used / max(1, self.total - reserved - others)

    def awaited(self) -> bool:
        """Does anybody wait for bytes to come back?"""
        return any(share.waiting for share in self._shares)

    def wake_all(self) -> None:
        for share in tuple(self._shares):
            share.wake()


class MemoryShare:
    """One unit's part of the budget; the `Admission` of its fetcher and the account of its block pool."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._freed = asyncio.Event()
        self.waiting = False
        self.left = False
        self.used = 0

    async def acquire(self, nbytes: int) -> None:
        """Wait until `nbytes` fit. A unit that holds nothing is always let in: one smallest fetch may always be decoded."""
        while True:
            with self._budget.lock:
                if self.used == 0 or self._budget.fits(self, nbytes):
                    self._add(nbytes)
                    return
                self.waiting = True
                self._freed.clear()
            await self._freed.wait()

    def release(self, nbytes: int) -> None:
        """Give admitted bytes back."""
        self.credit(nbytes)

    def overdraw(self, nbytes: int) -> None:
        """Count what came beyond what was admitted: a single batch may be larger than what was asked for."""
        self.charge(nbytes)

    def charge(self, nbytes: int) -> None:
        """Blocks taken: counted, never refused. Any thread."""
        with self._budget.lock:
            self._add(nbytes)

    def credit(self, nbytes: int) -> None:
        """Blocks or admitted bytes given back. Any thread."""
        with self._budget.lock:
            self._add(-nbytes)
            awaited = self._budget.awaited()
        if awaited:
            self._loop.call_soon_threadsafe(self._budget.wake_all)

    @property
    def at_ease(self) -> bool:
        """Whether nobody needs to ask for the pressure, which takes a look at every unit."""
        return self._budget.at_ease

    def pressure(self) -> float:
        """How full the memory is that this unit may use."""
        return self._budget.pressure(self)

    async def room(self) -> None:
        """Wait until something is free."""
        while True:
            self._freed.clear()
            self.waiting = True  # before the question: what a thread gives back after it must wake us
            if self.pressure() < 1:
                self.waiting = False
                return
            await self._freed.wait()

    def leave(self) -> None:
        """The incarnation is over: whatever it still held is free again."""
        self._budget.discard(self)

    def wake(self) -> None:
        if self.waiting:
            self.waiting = False
            self._freed.set()

    def _add(self, nbytes: int) -> None:
        if self.left:  # a thread or an upload that outlived the incarnation: its bytes were written off
            return
        self.used += nbytes
        self._budget.used += nbytes
