"""Transactions of ours that Kafka has left without an end (why: `kafka.open_transactions`), ended as they would have been before anything
goes on (kafka-replication.md §6.4).

Left alone, they would share the end of the producer's next transaction in the same partition: what was aborted would be there twice, what
was committed could be lost. Positions come first (`end_positions`, before an incarnation reads them), then the data, by what the positions
say (`LeftOpen`, in the committer, whenever a connection to the target was lost)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication.guard import Guard
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import RETRIABLE, KafkaCode
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.log_scan import log_bounds, scan
from smartconnect.kafka.open_transactions import OpenTransactions, open_transactions
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Kind, walk
from smartconnect.kernels.records import marker_commits

if TYPE_CHECKING:
    from smartconnect.jobs.kafka_replication.incarnation import Incarnation

_AGAIN_S: Final = 5.0


async def end_positions(inc: Incarnation, guard: Guard) -> None:
    """End what the producer of this guard, who has taken over, has left open in the positions topic. All data of such a transaction is on
    the target: positions are written behind it. So it is committed, unless a partition of its data shows that it was aborted."""
    if guard.transactional_id is None:
        return
    tp, pauses = inc.positions.tp, inc.target.pauses(0.05, 1.0)
    while await _is_open(inc, guard, tp):
        commit = await _was_committed(inc, guard.stamp.producer_id)
        await guard.end_left_open([tp], commit=commit)
        _tell(inc, [tp], commit=commit)
        await asyncio.sleep(pauses.next())
        await guard.take_over()  # returns when that end is written


async def _is_open(inc: Incarnation, guard: Guard, tp: TopicPartition) -> bool:
    found = await open_transactions(inc.target, [tp], guard.stamp.producer_id)
    _refuse(found.untold)
    return tp in found.since


async def _was_committed(inc: Incarnation, producer_id: int) -> bool:
    ends = {
        TopicPartition(inc.naming.target_of(tp.topic), tp.partition): end
        for tp, end in (await inc.positions.left_open(producer_id)).items()
    }
    data = await open_transactions(inc.target, ends, producer_id)
    _refuse({tp: code for tp, code in data.untold.items() if code is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION})
    for tp in ends.keys() - data.since.keys() - data.untold.keys():
        shown = await _shown(inc.target, tp, ends[tp], producer_id)
        if shown is not None:
            return shown
    return True


class LeftOpen:
    """One incarnation's lanes: which are *clear*, so that nothing that is older than the next transaction is open there."""

    def __init__(self, inc: Incarnation, by_lane: Mapping[Lane, Partition]) -> None:
        self._inc, self._by_lane, self._guard = inc, by_lane, inc.guard
        self._transactional = inc.guard.transactional_id is not None
        self._losses = -1
        self._doubted = -1
        self._not_before = 0.0

    @property
    def is_due(self) -> bool:
        """A connection to the target was lost since all were found clear, or nobody has looked yet: a broker may have died."""
        if not self._transactional or self._inc.target.losses == self._losses:
            return False
        return self._inc.clock.monotonic() >= self._not_before

    async def look(self) -> None:
        """Clear all lanes as far as their leaders answer; the rest is looked at again after a while. No transaction is open."""
        losses = self._inc.target.losses
        if self._doubted != losses:
            self._doubted = losses
            for lane in self._by_lane:
                lane.clear = False
        moving = [lane for lane, partition in self._by_lane.items() if partition.selected and partition.blocked is None]
        untold = await self._end_positions() or set((await self.clear(moving)).values())
        if untold & RETRIABLE:
            self._not_before = self._inc.clock.monotonic() + _AGAIN_S
        else:
            self._losses = losses

    async def _end_positions(self) -> set[KafkaCode]:
        """Those that this incarnation has written it has committed. Why nobody tells, if so."""
        tp = self._inc.positions.tp
        found = await open_transactions(self._inc.target, [tp], self._guard.stamp.producer_id)
        if tp in found.since:
            await self._guard.end_left_open([tp], commit=True)
        return set(found.untold.values())

    async def clear(self, lanes: Collection[Lane]) -> dict[Lane, KafkaCode]:
        """End what is open in those of the lanes that are not clear; the lanes of which nobody tells, and why. No transaction is open."""
        doubtful = {lane.tp: lane for lane in lanes if not lane.clear}
        untold: dict[Lane, KafkaCode] = {}
        pauses = self._inc.target.pauses(0.05, 1.0)
        while doubtful:
            found = await self._open(doubtful)
            await self._end({tp: doubtful[tp] for tp in found.since}, found.since)
            for tp, code in found.untold.items():
                untold[doubtful[tp]] = code
            for tp, lane in doubtful.items():
                lane.clear = tp not in found.since and tp not in found.untold
            doubtful = {tp: doubtful[tp] for tp in found.since}
            if doubtful:
                await asyncio.sleep(pauses.next())
        return untold

    async def _open(self, tps: Collection[TopicPartition]) -> OpenTransactions:
        if not self._transactional:
            return OpenTransactions({}, {})
        return await open_transactions(self._inc.target, tps, self._guard.stamp.producer_id)

    async def _end(self, lanes: Mapping[TopicPartition, Lane], since: Mapping[TopicPartition, int]) -> None:
        committed = {tp for tp, lane in lanes.items() if since[tp] < self._committed_end(lane)}
        for tps, commit in ((committed, True), (lanes.keys() - committed, False)):
            if tps:
                await self._guard.end_left_open(tps, commit=commit)
                _tell(self._inc, tps, commit=commit)

    def _committed_end(self, lane: Lane) -> int:
        """The target's offset behind the records that the committed position counts; −1: none."""
        partition = self._by_lane[lane]
        stored = partition.stored
        if stored is None or stored.target_topic_id not in (None, partition.link.target_topic_id):
            return -1
        return stored.next_target


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


def _tell(inc: Incarnation, tps: Collection[TopicPartition], *, commit: bool) -> None:
    where = f"{next(iter(tps))}" + (f" and {len(tps) - 1} more" if len(tps) > 1 else "")
    end = "committed" if commit else "aborted"
    inc.context.ledger.event(
        Level.WARNING, "transaction_left_open", f"Kafka had left a transaction of ours without an end in {where}: it is {end} now"
    )
