"""How long to wait before the next try: arithmetic only, so that every retry of the service grows and is spread the same way.

Full jitter: each wait is drawn evenly from `floor_s` to a ceiling that doubles with every try, so that a thousand callers who failed
together do not return together. Used by the store's retry helper, by Kafka's waits (with a floor) and by the unit supervisor; whoever
calls brings the randomness and does the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# 2**64 first waits are longer than any cap: beyond it doubling would only overflow.
_MAX_DOUBLINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds. The ceiling after failure n (counted from 0) is `first_s · 2ⁿ`, at most `cap_s`; without end."""

    first_s: float = 0.2
    cap_s: float = 30.0
    floor_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor_s <= self.first_s <= self.cap_s:
            raise ValueError("a backoff needs 0 <= floor_s <= first_s <= cap_s")

    def ceiling(self, failures: int) -> float:
        """The longest wait after `failures` earlier failures in a row (0: the first one has just happened)."""
        return float(min(self.cap_s, self.first_s * 2 ** min(max(failures, 0), _MAX_DOUBLINGS)))

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """A wait for this failure; `random` gives numbers in [0, 1), as `random.Random().random` does."""
        return self.floor_s + random() * (self.ceiling(failures) - self.floor_s)
