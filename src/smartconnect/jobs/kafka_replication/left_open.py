"""Lanes on which Kafka may have left a transaction of ours without an end (why: `kafka.open_transactions`): it is ended as it would have
been, before the next one begins there (kafka-replication.md §6.4).

Left alone it would share the end of that next one: what was aborted would be there twice, what was committed could be lost. The
positions say which it was; they come first (`left_open_positions`). Called by the committer at the start and whenever a connection to the
target was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.left_open_positions import tell
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.troubles import MENDS_FOR_S
from smartconnect.kafka.codes import RETRIABLE, KafkaCode
from smartconnect.kafka.open_transactions import OpenTransactions, open_transactions
from smartconnect.kafka.types import TopicPartition

_AGAIN_S: Final = 5.0
_PAUSE_S: Final = 0.05


class LeftOpen:
    """One incarnation's lanes: which are *clear*, so that nothing that is older than the next transaction is open there."""

    def __init__(self, inc: Incarnation, by_lane: Mapping[Lane, Partition]) -> None:
        self._inc, self._by_lane, self._guard = inc, by_lane, inc.guard
        self._transactional = inc.guard.transactional_id is not None
        self._losses = -1
        self._doubted = -1
        self._not_before = 0.0
        self._untold_since: dict[Lane, float] = {}

    @property
    def is_due(self) -> bool:
        """A connection to the target was lost since all were found clear, or nobody has looked yet: a broker may have died."""
        if not self._transactional or self._inc.target.losses == self._losses:
            return False
        return self._inc.clock.monotonic() >= self._not_before

    async def look(self) -> None:
        """Clear all lanes as far as their leaders answer; the rest is looked at again after a while, and so are lanes of blocked
        partitions: nothing may come there for long, and nobody could read what lies there. No transaction is open."""
        losses = self._inc.target.losses
        if self._doubted != losses:
            self._doubted = losses
            for lane in self._by_lane:
                lane.clear = False
        moving = [lane for lane, partition in self._by_lane.items() if partition.selected and partition.blocked is None]
        untold = await self._end_positions() or set((await self.clear(moving)).values())
        if untold & RETRIABLE or self._in_doubt():
            self._not_before = self._inc.clock.monotonic() + _AGAIN_S
        else:
            self._losses = losses

    def _in_doubt(self) -> bool:
        return any(partition.selected and not lane.clear for lane, partition in self._by_lane.items())

    async def _end_positions(self) -> set[KafkaCode]:
        """Those that this incarnation has written it has committed. Why nobody tells, if so."""
        tp = self._inc.positions.tp
        found = await open_transactions(self._inc.target, [tp], self._guard.stamp.producer_id)
        if tp in found.since:
            await self._guard.end_left_open([tp], commit=True)
        return set(found.untold.values())

    async def refused(self, lanes: Collection[Lane]) -> dict[Lane, KafkaCode]:
        """Clear them; those that are to be given up for now, and why. What waiting may cure (a new topic's leader) is waited for first:
        such a lane stays in doubt, and is looked at again with the next call."""
        untold, now = await self.clear(lanes), self._inc.clock.monotonic()
        self._untold_since = {lane: self._untold_since.get(lane, now) for lane in untold}
        given_up = {
            lane: code for lane, code in untold.items() if code not in RETRIABLE or now - self._untold_since[lane] > MENDS_FOR_S
        }
        if len(given_up) < len(untold):
            await asyncio.sleep(_PAUSE_S)
        return given_up

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
                tell(self._inc.context.ledger.event, tps, commit=commit)

    def _committed_end(self, lane: Lane) -> int:
        """The target's offset behind the records that the committed position counts; −1: none."""
        partition = self._by_lane[lane]
        stored = partition.stored
        if stored is None or stored.target_topic_id not in (None, partition.link.target_topic_id):
            return -1
        return stored.next_target
