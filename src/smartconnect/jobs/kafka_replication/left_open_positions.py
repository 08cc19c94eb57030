"""Positions in a transaction that Kafka has left without an end (why: `kafka.open_transactions`), ended before an incarnation reads them
(kafka-replication.md §6.3): undecided they would not count, and what they stand for would be copied twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication.guard import Guard
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.position_store import PositionStore
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.open_transactions import open_transactions
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Kind, walk
from smartconnect.kernels.records import marker_commits

TellEvent = Callable[[Level, str, str], None]


@dataclass(frozen=True, slots=True)
class LeftOpenPositions:
    """One direction's, in its partition of the positions topic of the target."""

    target: Cluster
    store: PositionStore
    naming: Naming
    event: TellEvent

    async def end(self, guard: Guard) -> None:
        """End what the producer of this guard, who has taken over, has open there. All data of such a transaction is on the target:
        positions are written behind it. So it is committed, unless a partition of its data shows that it was aborted."""
        if guard.transactional_id is None:
            return
        pauses = self.target.pauses(0.05, 1.0)
        while await self._is_open(guard.stamp.producer_id):
            commit = await self._was_committed(guard.stamp.producer_id)
            await guard.end_left_open([self.store.tp], commit=commit)
            tell(self.event, [self.store.tp], commit=commit)
            await asyncio.sleep(pauses.next())
            await guard.take_over()  # returns when that end is written

    async def _is_open(self, producer_id: int) -> bool:
        found = await open_transactions(self.target, [self.store.tp], producer_id)
        _refuse(found.untold)
        return bool(found.since)

    async def _was_committed(self, producer_id: int) -> bool:
        ends = {
            TopicPartition(self.naming.target_of(tp.topic), tp.partition): end
            for tp, end in (await self.store.left_open(producer_id)).items()
        }
        data = await open_transactions(self.target, ends, producer_id)
        _refuse({tp: code for tp, code in data.untold.items() if code is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION})
        for tp in ends.keys() - data.since.keys() - data.untold.keys():
            shown = await _shown(self.target, tp, ends[tp], producer_id)
            if shown is not None:
                return shown
        return True


def tell(event: TellEvent, tps: Collection[TopicPartition], *, commit: bool) -> None:
    """What was done about partitions of the target."""
    where = f"{next(iter(tps))}" + (f" and {len(tps) - 1} more" if len(tps) > 1 else "")
    end = "committed" if commit else "aborted"
    event(
        Level.WARNING, "transaction_left_open", f"Kafka had left a transaction of ours without an end in {where}: it is {end} now"
    )


async def _shown(cluster: Cluster, tp: TopicPartition, start: int, producer_id: int) -> bool | None:
    """Whether the producer's first marker from `start` on commits; None: there is none."""
    first, end = await log_bounds(cluster, tp)
    async for part in scan(cluster, tp, max(first, start), end):
        shown = await asyncio.to_thread(_first_marker, part.records, part.fetch_offset, producer_id)
        if shown is not None:
            return shown
    return None


def _first_marker(blob: memoryview, fetch_offset: int, producer_id: int) -> bool | None:
    for batch in walk(blob, fetch_offset, ()):
        if batch.kind is Kind.CONTROL and batch.producer_id == producer_id and batch.base_offset >= fetch_offset:
            return marker_commits(blob, batch)
    return None


def _refuse(untold: Mapping[TopicPartition, KafkaCode]) -> None:
    for tp, code in untold.items():
        raise refusal(f"tell whether a transaction of ours is open in {tp}", code)
