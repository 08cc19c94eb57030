"""Every waiting time of the Kafka client in one place, and the one helper that asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.errors import ClusterUnreachable, Retryable
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost

Clock = Callable[[], float]
Random = Callable[[], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `patience_s` is how long a call is asked again before the caller hears of it: short for live checks."""

    connect_s: float = 10.0
    request_s: float = 30.0
    patience_s: float = 30.0
    shortest_pause_s: float = 0.05
    longest_pause_s: float = 5.0
    metadata_age_s: float = 300.0


class TryAgain(Exception):
    """An answer of a broker that asking again may cure: a signal between an attempt and its loop, no caller sees it."""

    def __init__(self, doing: str, code: KafkaCode) -> None:
        super().__init__(f"cannot {doing}: {code.name}")
        self.code = code


class Pauses:
    """The growing pauses of one loop, from `shortest_s` to `longest_s`; `restart` after a success."""

    def __init__(self, shortest_s: float, longest_s: float, random: Random) -> None:
        self._backoff = Backoff(first_s=shortest_s, cap_s=longest_s, floor_s=shortest_s)
        self._random = random
        self._failures = 0

    def restart(self) -> None:
        self._failures = 0

    def next(self) -> float:
        self._failures += 1
        return self._backoff.delay(self._failures - 1, self._random)


async def persist(attempt: Callable[[], Awaitable[T]], *, timing: Timing, clock: Clock, random: Random) -> T:
    """The result of the first attempt that neither loses its answer nor raises TryAgain.

    After `timing.patience_s` the last reason is raised: BrokerRefused for a code, otherwise what the attempt raised."""
    started = clock()
    pauses = Pauses(timing.shortest_pause_s, timing.longest_pause_s, random)
    while True:
        try:
            return await attempt()
        except TryAgain as again:
            reason: Retryable = BrokerRefused(str(again), again.code)
        except (ConnectionLost, ClusterUnreachable) as lost:
            reason = lost
        pause = pauses.next()
        if clock() - started + pause > timing.patience_s:
            raise reason
        await asyncio.sleep(pause)
