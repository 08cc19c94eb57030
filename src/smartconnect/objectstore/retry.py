"""The one way to try a store again. What passes by itself (`StoreBusy`) is tried without end with full jitter; what somebody has to change
(`StoreRefused`) every 30 s, and at once when something was changed; a damaged part twice at once, then as slowly. Everything else is the
caller's to decide and is raised. Used by the dump for every store call it must see through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.clock import Clock
from smartconnect.objectstore.errors import BadDigest, StoreBusy, StoreRefused

T = TypeVar("T")

_QUICK_RESENDS: Final = 2


class Stop(Protocol):
    """What ends the waiting; `asyncio.Event` is one, the engine's stop signal another."""

    def is_set(self) -> bool:
        """True once it is time to stop."""
        ...

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Returns when it is."""
        ...


class Changed:
    """ "Something that may cure a refusal was changed": `set` it at every modification. Unlike an event it cannot be missed by one waiter
    because another has seen it, nor by a call that was under way."""

    def __init__(self) -> None:
        self.version = 0
        self._next = asyncio.Event()

    def set(self) -> None:
        """Wake everybody who waits."""
        self.version += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait_beyond(self, version: int) -> None:
        """Return when there was a change after `version`."""
        while self.version <= version:
            await self._next.wait()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`random` gives numbers in [0, 1); `refused_every_s`: between tries of what somebody has to change."""

    random: Callable[[], float]
    clock: Clock
    backoff: Backoff = field(default_factory=Backoff)
    refused_every_s: float = 30.0
    changed: Changed = field(default_factory=Changed)


@dataclass(frozen=True, slots=True)
class Retry:
    """Told before each wait: the failure, how many there were in a row, for how long it has been failing, and the wait."""

    error: StoreBusy | StoreRefused | BadDigest
    failures: int
    failing_s: float
    delay_s: float


async def until_done(call: Callable[[], Awaitable[T]], *, policy: RetryPolicy, stop: Stop, on_retry: Callable[[Retry], None]) -> T:
    """Call until it succeeds. At least one try is made; when `stop` is set, the last error is raised instead of waiting for another."""
    since_s: float | None = None
    failures = 0
    while True:
        version = policy.changed.version
        try:
            return await call()
        except (StoreBusy, StoreRefused, BadDigest) as failed:
            error = failed
        now_s = policy.clock.monotonic()
        since_s = now_s if since_s is None else since_s
        delay_s = _delay(error, failures, policy)
        failures += 1
        if stop.is_set():
            raise error
        on_retry(Retry(error, failures, now_s - since_s, delay_s))
        waits = [stop.wait()]
        if not isinstance(error, StoreBusy):
            waits.append(policy.changed.wait_beyond(version))
        await _pause(delay_s, waits)
        if stop.is_set():
            raise error


def _delay(error: StoreBusy | StoreRefused | BadDigest, failures: int, policy: RetryPolicy) -> float:
    if isinstance(error, StoreBusy):
        return policy.backoff.delay(failures, policy.random)
    if isinstance(error, BadDigest) and failures < _QUICK_RESENDS:
        return 0.0
    return policy.refused_every_s


async def _pause(seconds: float, events: list[Coroutine[Any, Any, Any]]) -> None:
    """Until one of the events, at most `seconds`."""
    tasks = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
