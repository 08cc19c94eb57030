"""Many partitions of one cluster → raw frames of record batches, as fast as they come and the memory budget allows.

Guarantees: a partition is delivered in offset order without holes from the position it was given; after `drop` or `seek`
nothing that was fetched before is delivered any more; leaders that move, brokers that restart, sessions that are evicted
are cured inside; what the caller must decide about (offset out of range, a deleted topic, a missing right, corrupt data)
is handed over as an error of that partition, which then rests, while the others go on. With nothing to fetch and nothing
new the cost does not depend on the number of partitions. Used by the jobs; for one task at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetch_bundle import Bundle
from smartconnect.kafka.fetch_channel import FetchChannel
from smartconnect.kafka.fetch_placement import Placement
from smartconnect.kafka.fetch_types import Admission, FetchedPartition, FetchOptions, Frame, PartitionView
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition

__all__ = ["Admission", "FetchOptions", "FetchedPartition", "Fetcher", "Frame", "PartitionView"]

FRAMES_AHEAD = 2
"""Frames of each connection that may wait for the caller: enough to keep it busy. More would fill the budget with bytes gone cold."""
_NOTHING = memoryview(b"")


class Fetcher:
    """Async context manager, or `close` it. `trouble` tells for a health display what does not work and since when."""

    def __init__(self, cluster: Cluster, options: FetchOptions, admission: Admission) -> None:
        self._cluster, self._options, self._admission = cluster, options, admission
        self._states: dict[TopicPartition, PartitionState] = {}
        self._bundles: dict[int, Bundle[FetchChannel]] = {}
        self._placement = Placement(self, cluster, options.unknown_topic_grace_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._placing: asyncio.Task[None] | None = None
        self._frames: deque[Frame] = deque()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._interrupted = False
        self._failure: BaseException | None = None
        self._troubles: dict[int, tuple[float, Exception]] = {}
        self._paused = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    # What the caller decides

    def assign(self, tp: TopicPartition, offset: int, leader_epoch: int = -1, topic_id: UUID | None = None) -> None:
        """Fetch a partition from `offset` on; `leader_epoch` is that of the record before it, for the check of KIP-320. `topic_id`: of the
        topic that `offset` is a position in; one of the same name that was made since is INCONSISTENT_TOPIC_ID, where brokers tell ids
        (Kafka 2.8), and nothing of it is delivered, where they are asked by id (3.1). None: whatever topic has the name."""
        if tp in self._states:
            self.drop(tp)
        self._states[tp] = state = PartitionState(tp, offset, leader_epoch, topic_id)
        self._find_home(state)

    def drop(self, tp: TopicPartition) -> None:
        """Fetch it no longer, deliver nothing of it any more. Unknown partitions are ignored."""
        state = self._states.pop(tp, None)
        if state is None:
            return
        self._paused -= state.paused
        state.outdate()
        self._placement.discard(state)
        if isinstance(state.channel, FetchChannel):
            state.channel.remove(state)
            state.channel = None

    def pause(self, tp: TopicPartition) -> None:
        """Leave it out of further requests; what is on its way still arrives."""
        state = self._states[tp]
        if not state.paused:
            state.paused, state.paused_at = True, self._cluster.clock()
            self._paused += 1
            self._rest(state)

    def resume(self, tp: TopicPartition) -> None:
        """Go on where it stopped, also after an error."""
        state = self._states[tp]
        if state.paused and self._cluster.clock() - state.paused_at > self._options.trusted_pause_s:
            state.checked_epoch = -1
        self._paused -= state.paused
        state.paused, state.error = False, None
        self._wake(state)

    def seek(self, tp: TopicPartition, offset: int, leader_epoch: int = -1) -> None:
        """Go on from another offset; clears an error, keeps a pause."""
        state = self._states[tp]
        state.move(offset, leader_epoch)
        if not state.paused:
            self._wake(state)

    def view(self, tp: TopicPartition) -> PartitionView:
        """Position and what the broker told last about the partition."""
        return self._states[tp].view()

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        return frozenset(self._states)

    @property
    def paused(self) -> int:
        return self._paused

    @property
    def troubles(self) -> list[tuple[float, Exception]]:
        """(since when by the cluster's clock, error) of each broker that cannot be fetched from now, oldest first."""
        return sorted(self._troubles.values(), key=lambda trouble: trouble[0])

    async def next(self, timeout_s: float) -> Frame | None:
        """The next answer with something in it, None after `timeout_s` or `interrupt`. The caller releases the frame. Raises what ends
        all fetching: credentials refused, versions that do not meet."""
        frame = self._ready_frame()
        if frame is not None or timeout_s <= 0:
            return frame
        try:
            async with asyncio.timeout(timeout_s):
                while frame is None and not self._interrupted:
                    self._arrived.clear()
                    await self._arrived.wait()
                    frame = self._ready_frame()
        except TimeoutError:
            return None
        self._interrupted = False
        return frame

    def interrupt(self) -> None:
        """The caller has something else to do: `next` returns at once where it waits, or the next time that it would."""
        self._interrupted = True
        self._arrived.set()

    async def close(self) -> None:
        """Stop fetching, close the connections, give back the bytes of frames that nobody took."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in self._channels():
            channel.close()
        while self._frames:
            self._frames.popleft().release()

    def _ready_frame(self) -> Frame | None:
        """The oldest frame with something that still counts."""
        if self._failure is not None:
            raise self._failure
        while self._frames:
            frame = self._frames.popleft()
            self._taken.set()
            frame.partitions = [part for part in frame.partitions if self.counts(part)]
            if frame.partitions:
                return frame
            frame.release()
        return None

    def counts(self, part: FetchedPartition) -> bool:
        """Whether nobody has moved or dropped the partition since this was fetched. For frames in hand; `next` gives no other."""
        state = self._states.get(part.tp)
        return state is not None and state.generation == part.generation

    def _rest(self, state: PartitionState) -> None:
        self._placement.discard(state)
        if isinstance(state.channel, FetchChannel):
            state.channel.remove(state)

    def _wake(self, state: PartitionState) -> None:
        must_check = state.position_epoch >= 0 and state.checked_epoch < 0
        if isinstance(state.channel, FetchChannel) and not must_check:
            state.channel.add(state)
            return
        self._rest(state)
        state.channel = None
        self._find_home(state)

    def _find_home(self, state: PartitionState) -> None:
        if self._placing is None:
            self._placing = self._start(self._placement.run(), "placement")
        self._placement.add(state)

    # What channels and placement tell

    def state(self, tp: TopicPartition) -> PartitionState | None:
        return self._states.get(tp)

    def place(self, state: PartitionState, node_id: int) -> None:
        """Have a partition fetched from a broker."""
        state.fetched_from = node_id
        self._bundle(node_id).place(state)

    def regroup(self, channel: FetchChannel) -> None:
        self._bundles[channel.node_id].regroup(channel)

    def _bundle(self, node_id: int) -> Bundle[FetchChannel]:
        bundle = self._bundles.get(node_id)
        if bundle is None:
            numbers = range(self._options.connections_per_leader)
            channels = [FetchChannel(node_id, self, self._cluster, self._options, self._admission) for _ in numbers]
            bundle = self._bundles[node_id] = Bundle(channels)
            for number, channel in enumerate(channels):
                self._start(channel.run(), f"fetch from {node_id}/{number}")
        return bundle

    def _channels(self) -> Iterator[FetchChannel]:
        return (channel for bundle in self._bundles.values() for channel in bundle.channels)

    async def hungry(self) -> None:
        """Return when so few frames wait for the caller that one more may be asked for."""
        connections = len(self._bundles) * self._options.connections_per_leader
        while len(self._frames) >= FRAMES_AHEAD * connections:
            self._taken.clear()
            await self._taken.wait()

    def deliver(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._arrived.set()

    def homeless(self, states: Sequence[PartitionState], code: KafkaCode) -> None:
        for state in states:
            if not state.rests:
                self._placement.add(state, code)

    def report(self, state: PartitionState, code: KafkaCode, diverged_at: int) -> None:
        """Hand a partition's error to the caller: a frame without bytes."""
        part = FetchedPartition(
            tp=state.tp,
            fetch_offset=state.offset,
            next_offset=state.offset,
            error=code,
            high_watermark=state.high_watermark,
            last_stable_offset=state.last_stable_offset,
            log_start_offset=state.log_start_offset,
            aborted=[],
            records=_NOTHING,
            diverged_at=diverged_at,
            generation=state.generation,
        )
        self.deliver(Frame([part], 0, self._admission))

    def trouble(self, node_id: int, error: Exception | None) -> None:
        if error is None:
            self._troubles.pop(node_id, None)
        else:
            since = self._troubles.get(node_id, (self._cluster.clock(), error))[0]
            self._troubles[node_id] = (since, error)

    def _start(self, running: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(running, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._arrived.set()
