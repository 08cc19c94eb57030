"""Writes batches of the positions topic as the unit's producer: inside the committer's transactions, or each in one of its own where
nothing else is written (kafka-replication.md §6.3)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from smartconnect.domain.errors import Retryable
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.outbox import Outbox, OutboxEvents, Refusal
from smartconnect.jobs.kafka_replication.partition import Flight, Lane
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import PartitionsNotAdded
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import stamp

_COUNT: Final = struct.Struct(">i")
_COUNT_AT: Final = 57


class PositionWriter:
    """One incarnation's way to its partition of the positions topic."""

    def __init__(self, inc: Incarnation, outbox: Outbox) -> None:
        self._inc, self._outbox = inc, outbox
        self._lane = inc.position_lane

    async def write(self, batch: bytearray) -> None:
        """Stamp a batch and send it; returns when it is acknowledged. Its partition is part of the open transaction."""
        (count,) = _COUNT.unpack_from(batch, _COUNT_AT)
        (sequence,) = self._lane.take_sequences([count])
        stamp(memoryview(batch), [(0, len(batch), sequence)], self._inc.guard.stamp)
        self._inc.steps.note("positions.sent")
        await self._outbox.write(Flight(batch, self._lane, sequence, count, len(batch)))
        self._inc.steps.note("positions.acked")


async def admit_positions(inc: Incarnation, others: Collection[TopicPartition] = ()) -> Mapping[TopicPartition, KafkaCode]:
    """Make the positions part of the transaction, together with others; those of the others that are refused. Retryable where the
    positions themselves are."""
    refused = await inc.guard.admit([*others, inc.positions.tp])
    if inc.positions.tp in refused:
        raise PartitionsNotAdded({inc.positions.tp: refused[inc.positions.tp]})
    return refused


async def write_alone(inc: Incarnation, batches: Iterable[bytearray]) -> None:
    """Each batch in a commit of its own, in an incarnation that moves no data."""
    outbox = Outbox(inc, OutboxEvents(_no_data, _refused))
    writer = PositionWriter(inc, outbox)
    for batch in batches:
        await admit_positions(inc)
        await inc.crew.wait_for(writer.write(batch))
        await inc.guard.finish()
    inc.position_lane.channel = None  # it reports to this outbox; sequence numbers go on


def _no_data(acked: Sequence[tuple[Flight, int]]) -> None:
    raise AssertionError(f"batches without a partition were reported: {acked}")


def _refused(lane: Lane, refusal: Refusal) -> None:
    code = refusal.code.name if refusal.code is not None else "no leader"
    raise Retryable(f"the target refuses {lane.tp}: {code}", code="target_refused")
