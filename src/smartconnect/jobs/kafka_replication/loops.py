"""Which batches came from where they would go to: the loop guard by producer id as the intake asks it (kafka-replication.md §8.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from smartconnect.domain.errors import PermissionMissing
from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.producer_ids import Origins, ProducerLoops
from smartconnect.kernels import Batch


class Loops(Protocol):
    """One incarnation's."""

    async def judge(self, partition: Partition, rows: Sequence[Batch]) -> Callable[[int], bool] | None:
        """For the batches of one fetch answer: tells of a producer id whether its batches are copies of ours; None if none can be. Asks
        the source about ids that it does not know yet."""


def loops_for(inc: Incarnation) -> Loops:
    """A two-way task must be able to tell its own copies; another one goes on without, and says so."""

    def blind(missing: PermissionMissing) -> None:
        why = f"{missing}; without it copies that another task brought to the source cannot be told from other records"
        inc.context.ledger.event(Level.WARNING, "loops_not_seen", why)

    two_way = len(inc.spec.directions) > 1
    return ProducerLoops(Origins(inc.source, None if two_way else blind), inc.target_id)
