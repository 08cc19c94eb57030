"""Which worker of this machine holds which bucket of slots: pure, time is passed in. Bucket b has a home, worker b. The parent tells it
what happens to workers and sends out what `changes` gives.

* A worker dies: its buckets go to their homes, or else to the live workers with the fewest, at once.
* A home that is back for good (`settle_s`) gets its bucket back: it is first taken from whoever holds it, and handed on only when that
  worker has said that nothing of it runs there any more. So no unit ever has two living owners here.
* At the very start a bucket waits a little for its home, so that the first worker does not get everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

NOBODY: Final = -1


@dataclass(slots=True)
class _Bucket:
    holder: int = NOBODY
    leaving: bool = False


class BucketBoard:
    """`count` workers, numbered from 0, and as many buckets."""

    def __init__(self, count: int, *, settle_s: float = 5.0, first_wait_s: float = 30.0) -> None:
        self._buckets = [_Bucket() for _ in range(count)]
        self._joined_at: dict[int, float] = {}
        self._sent: dict[int, frozenset[int]] = {}
        self._settle_s = settle_s
        self._first_wait_s = first_wait_s
        self._first_seen: float | None = None
        self._was_here: set[int] = set()

    def joined(self, worker: int, now: float) -> None:
        """A (new) process of this worker has said hello. It holds nothing yet."""
        self._joined_at[worker] = now
        self._sent.pop(worker, None)
        self._was_here.add(worker)

    def gone(self, worker: int) -> None:
        """It is dead, or will be killed: what it held is free."""
        self._joined_at.pop(worker, None)
        self._sent.pop(worker, None)
        self._was_here.add(worker)
        for bucket in self._buckets:
            if bucket.holder == worker:
                bucket.holder, bucket.leaving = NOBODY, False

    def released(self, worker: int, buckets: Collection[int]) -> None:
        """Nothing of these buckets runs in this worker any more. Counts only for what was taken from it."""
        for number in buckets:
            if 0 <= number < len(self._buckets):
                bucket = self._buckets[number]
                if bucket.holder == worker and bucket.leaving:
                    bucket.holder, bucket.leaving = NOBODY, False

    def changes(self, now: float) -> Mapping[int, frozenset[int]]:
        """Place what is free, call home what is away, and give the new share of each worker whose share is another than before.
        A worker that has just joined is told even an empty share."""
        if self._first_seen is None:
            self._first_seen = now
        for number, bucket in enumerate(self._buckets):
            if bucket.holder == NOBODY:
                bucket.holder = self._place(number, now)
            elif bucket.holder != number and not bucket.leaving and self._settled(number, now):
                bucket.leaving = True
        shares = {worker: self._share(worker) for worker in self._joined_at}
        changed = {worker: share for worker, share in shares.items() if self._sent.get(worker) != share}
        self._sent.update(changed)
        return changed

    def share(self, worker: int) -> frozenset[int]:
        """What this worker was last told."""
        return self._sent.get(worker, frozenset())

    def _share(self, worker: int) -> frozenset[int]:
        return frozenset(n for n, bucket in enumerate(self._buckets) if bucket.holder == worker and not bucket.leaving)

    def _settled(self, worker: int, now: float) -> bool:
        return worker in self._joined_at and now - self._joined_at[worker] >= self._settle_s

    def _place(self, number: int, now: float) -> int:
        if number in self._joined_at:
            return number
        first_time = number not in self._was_here and self._first_seen is not None and now - self._first_seen < self._first_wait_s
        if first_time or not self._joined_at:
            return NOBODY
        return min(self._joined_at, key=lambda worker: (sum(b.holder == worker for b in self._buckets), worker))
