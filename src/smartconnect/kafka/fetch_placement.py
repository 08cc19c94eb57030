"""Finding the broker from which each partition is to be fetched, and checking its position before the first fetch there.

A partition without a channel is *homeless*: new, or its leader moved, its broker died, a nearer replica was named. The
placement task reads the metadata anew, compares the topic's id with that of the position (the name may be another topic's by
now) and notes it for the requests, compares the position with the leader's history (OffsetForLeaderEpoch, KIP-320: an unclean
election may have cut off what was read) and hands the partition to a channel. Failures pause 50 ms … 5 s, per partition.
Used by `fetcher` alone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

from smartconnect.domain.backoff import Backoff
from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, KafkaCode
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost
from smartconnect.kafka.fetch_codec import TopicRef
from smartconnect.kafka.offsets import EpochEnd, epoch_ends
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition

STEADY_S = 5.0
"""A partition that was fetched for so long had a good home: its next failure is its first."""

LONGEST_REST_S = 1.0


class PlacementOwner(Protocol):
    """What placement needs from its fetcher."""

    def place(self, state: PartitionState, node_id: int) -> None: ...
    def report(self, state: PartitionState, code: KafkaCode, diverged_at: int) -> None: ...
    def trouble(self, node_id: int, error: Exception | None) -> None: ...


class Placement:
    """`add` makes a partition homeless; `run` is the task that finds homes."""

    def __init__(self, owner: PlacementOwner, cluster: Cluster, grace_s: float) -> None:
        self._owner, self._cluster, self._grace_s = owner, cluster, grace_s
        self._waiting: dict[PartitionState, KafkaCode] = {}
        self._news = asyncio.Event()
        shortest = cluster.timing.shortest_pause_s
        self._backoff = Backoff(first_s=shortest, cap_s=cluster.timing.longest_pause_s, floor_s=shortest)

    def add(self, state: PartitionState, code: KafkaCode = KafkaCode.NONE) -> None:
        """`code` is why it lost its home, NONE where nothing went wrong."""
        now = self._cluster.clock()
        if code is KafkaCode.NONE:
            state.due = now
        else:
            if state.placed_at and now - state.placed_at > STEADY_S:
                state.failures, state.unknown_since = 0, None
            state.due = now + self._pause(state.failures)
            state.failures += 1
        self._waiting[state] = code
        self._news.set()

    def discard(self, state: PartitionState) -> None:
        self._waiting.pop(state, None)

    def _pause(self, failures: int) -> float:
        return self._backoff.delay(failures - 1, self._cluster.random) if failures else 0.0

    async def run(self) -> None:
        """Rounds take at most a tenth of the time, so that thousands that wait for a slow broker cost little."""
        while True:
            await self._next_due()
            started = self._cluster.clock()
            due = {state: code for state, code in self._waiting.items() if state.due <= started}
            if due:
                await self._round(due)
                took = self._cluster.clock() - started
                await asyncio.sleep(min(took * 9, LONGEST_REST_S))

    async def _next_due(self) -> None:
        """Wait until somebody's pause is over; news may bring it nearer."""
        self._news.clear()
        if not self._waiting:
            await self._news.wait()
            return
        pause = min(state.due for state in self._waiting) - self._cluster.clock()
        if pause > 0:
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                return

    async def _round(self, due: dict[PartitionState, KafkaCode]) -> None:
        """Find homes for all that are due; who finds none waits longer."""
        old_news = {s.tp.topic for s, code in due.items() if code is not KafkaCode.NONE or s.topic_id is not None}
        self._cluster.leaders.invalidate(old_news)
        try:
            leaders = await self._cluster.leaders_of([state.tp for state in due])
            homes = self._with_leader(due, leaders)
            ends = await self._history(homes)
        except (ClusterUnreachable, ConnectionLost, BrokerRefused) as error:
            self._owner.trouble(-1, error)
            self._again(due, KafkaCode.NETWORK_EXCEPTION)
            return
        self._owner.trouble(-1, None)
        for state in homes:
            if state in self._waiting:
                self._settle(state, ends.get(state.tp))

    def _with_leader(self, due: Collection[PartitionState], leaders: dict[TopicPartition, tuple[int, int]]) -> list[PartitionState]:
        homes = []
        refs = {name: self._ref(name) for name in {state.tp.topic for state in due}}
        for state in due:
            if state not in self._waiting:
                continue
            if self._is_of_another_topic(state):
                self._give_up(state, KafkaCode.INCONSISTENT_TOPIC_ID)
            elif state.tp in leaders:
                state.leader, state.leader_epoch = leaders[state.tp]
                state.ref = refs[state.tp.topic]
                homes.append(state)
            else:
                self._without_leader(state)
        return homes

    def _is_of_another_topic(self, state: PartitionState) -> bool:
        topic = self._cluster.leaders.topic(state.tp.topic)
        return topic is not None and None not in (topic.topic_id, state.topic_id) and topic.topic_id != state.topic_id

    def _ref(self, name: str) -> TopicRef:
        topic = self._cluster.leaders.topic(name)
        return TopicRef(name) if topic is None or topic.topic_id is None else TopicRef(name, topic.topic_id.bytes)

    def _without_leader(self, state: PartitionState) -> None:
        topic = self._cluster.leaders.topic(state.tp.topic)
        code = KafkaCode.LEADER_NOT_AVAILABLE
        if topic is not None and topic.error is not None:
            code = topic.error
        elif topic is not None and state.tp.partition not in topic.partitions:
            code = KafkaCode.UNKNOWN_TOPIC_OR_PARTITION
        if code not in LEADER_MOVED and code is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            self._give_up(state, code)
        else:
            self._again([state], code)

    def _again(self, states: Iterable[PartitionState], code: KafkaCode) -> None:
        now = self._cluster.clock()
        for state in states:
            if state not in self._waiting:
                continue
            if code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                state.unknown_since = state.unknown_since if state.unknown_since is not None else now
                if now - state.unknown_since >= self._grace_s:
                    self._give_up(state, code)
                    continue
            self.add(state, code)

    def _give_up(self, state: PartitionState, code: KafkaCode, diverged_at: int = -1) -> None:
        """The caller decides what becomes of the partition."""
        del self._waiting[state]
        state.error = code
        self._owner.report(state, code, diverged_at)

    async def _history(self, homes: Iterable[PartitionState]) -> dict[TopicPartition, EpochEnd]:
        """Where the epochs of positions ended, for those that a leader newer than the last check holds."""
        asked = {s.tp: s.position_epoch for s in homes if s.position_epoch >= 0 and s.checked_epoch < s.leader_epoch}
        return await epoch_ends(self._cluster, asked, patience_s=0.0) if asked else {}

    def _settle(self, state: PartitionState, end: EpochEnd | None) -> None:
        if end is not None and end.error is not None:
            self._again([state], end.error)
            return
        if end is not None and 0 <= end.end_offset < state.offset:
            self._give_up(state, KafkaCode.OFFSET_OUT_OF_RANGE, end.end_offset)
            return
        del self._waiting[state]
        state.checked_epoch = state.leader_epoch
        state.placed_at = now = self._cluster.clock()
        follower = state.follower if now < state.follower_until and self._cluster.broker(state.follower) else -1
        self._owner.place(state, follower if follower >= 0 else state.leader)
