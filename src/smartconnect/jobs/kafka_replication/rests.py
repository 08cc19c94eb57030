"""When a partition that stands still for now is tried again by itself: after a while, twice as long each time that it was in vain
(kafka-replication.md §6.4, §11). For what either side refuses and somebody may allow meanwhile; what needs a person at this task has no
`retry_at`. Used by `gaps` and the runner."""

from __future__ import annotations

from typing import Final

from smartconnect.domain.task import Reason
from smartconnect.jobs.kafka_replication.partition import Partition

_FIRST_REST_S: Final = 30.0
_LONGEST_REST_S: Final = 300.0
_SOON_S: Final = 2.0


def begin(partition: Partition, now: float, *, soon: bool) -> None:
    """It is blocked; `now` and `retry_at` are of one clock. `soon`: what is missing may be there in a moment."""
    first_s = _SOON_S if soon else _FIRST_REST_S
    partition.retry_at = now + min(_LONGEST_REST_S, first_s * 2 ** min(partition.retries, 10))
    partition.retries += 1


def end(partition: Partition, now: float, trouble: Reason | None) -> None:
    """Try it again if it is time; a `trouble` of its topic goes on blocking it."""
    if partition.retry_at is not None and partition.retry_at <= now:
        partition.blocked, partition.retry_at = trouble, None
