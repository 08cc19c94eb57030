"""Calls to the store as the dump makes them: repeated until they succeed, with a reason that people can see while they do not.

A busy store (time-outs, 5xx) is asked again with full jitter. When nothing at all has succeeded for `GIVE_UP_S`, or the store refuses us
(keys revoked, bucket gone), the incarnation ends with that reason: it gives back its memory, the supervisor comes back later, and at once
when the task is modified. What was promised stays promised; that costs nothing but names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import TargetUnreachable
from smartconnect.domain.task import Reason
from smartconnect.jobs.obs_dump.places import UnitPlaces
from smartconnect.objectstore import BadDigest, StoreBusy

GIVE_UP_S = 30.0
_SHOWN_AFTER_S = 3.0
_DAMAGED_TRIES = 3
_BACKOFF = Backoff(first_s=0.2, cap_s=30.0)
_T = TypeVar("_T")


class StoreCalls:
    """One unit's way to its store. `places`: how many control requests may be on the wire."""

    def __init__(self, clock: Clock, random: Random, places: UnitPlaces) -> None:
        self._clock, self._random, self._places = clock, random, places
        self._failing_since: float | None = None
        self._failing_since_ms = 0
        self._failures = 0
        self._message = ""
        self.retries = 0

    async def control(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """A request without a body of records, repeated until the store has answered it. `call` logs its own steps."""

        async def placed() -> _T:
            async with self._places.place():
                return await call()

        return await self.until_answered(placed)

    async def until_answered(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat while the store is busy. Typed refusals (NoSuchUpload, StoreRefused …) are the caller's."""
        attempt, damaged = 0, 0
        while True:
            try:
                result = await call()
            except (StoreBusy, BadDigest) as busy:
                damaged += isinstance(busy, BadDigest)
                if damaged == _DAMAGED_TRIES:
                    raise
                self._failed(str(busy))
                await asyncio.sleep(_BACKOFF.delay(attempt, self._random.random))
                attempt += 1
                continue
            self._failing_since = None
            return result

    def reason(self) -> Reason | None:
        """What to show while the store does not answer."""
        if self._failing_since is None or self._clock.monotonic() - self._failing_since < _SHOWN_AFTER_S:
            return None
        return Reason(TargetUnreachable.code, self._message, since=self._failing_since_ms, attempts=self._failures)

    def _failed(self, message: str) -> None:
        now = self._clock.monotonic()
        self.retries += 1
        self._message = message
        if self._failing_since is None:
            self._failing_since, self._failing_since_ms, self._failures = now, self._clock.now_ms(), 0
        self._failures += 1
        if now - self._failing_since >= GIVE_UP_S:
            raise TargetUnreachable(message)
