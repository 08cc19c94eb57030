"""One produce connection to one leader: batches go out in order per partition, many partitions in a request, several
requests in flight (kafka-replication.md §6.2).

Guarantees: a request takes the head batch of each waiting partition and never two of one; at most `most_in_flight` requests
wait for an answer; the bytes of a batch are sent from where they lie. Each batch ends in exactly one `Outcome`, in order per
partition. After the first outcome of a partition that is not a success the partition stands still with what is left of
it, in order, until its owner says `resume` (the same bytes again, in the same order) or `take_back`s it. What is left are all batches
from the failed one on: one that was on its way behind it and was stored nevertheless, out of its turn, has that outcome and is among them
(a partition that was made again knows nothing of the producer, and takes the first sequence number that it gets). The first batch of a
partition, and the first after a failure, goes alone: a leader that knows nothing of a producer takes *any* sequence number, so
that a second batch could overtake a first one that came some ms too early (a new topic's NOT_LEADER_OR_FOLLOWER). Nothing is retried
here: whether a repeat is right depends on the delivery mode. In a transaction use one channel per leader: the broker
verifies one partition at a time (§6.1). The caller bounds what it puts in."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from smartconnect.domain.errors import ClusterUnreachable, MalformedData, SmartConnectError
from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.produce_codec import Buffer, ProduceAnswer, ProduceRefusal, decode_produce, encode_produce
from smartconnect.kafka.types import TopicPartition


def _untold(seconds: float) -> None:
    """Nobody wants to know."""


class NeverSent(ConnectionLost):
    """There was no connection to send it on: it is stored nowhere."""


@dataclass(slots=True, eq=False)
class OutgoingBatch:
    """One whole batch, header patched, as a view of single bytes. Callers who want to know more of it in its outcome extend it."""

    records: Buffer


class Outcome(NamedTuple):
    """One of three: stored, with the `base_offset` on the target; `refused`; or `lost`: no answer came, it may be stored or not, but for
    NeverSent."""

    tp: TopicPartition
    batch: OutgoingBatch
    base_offset: int | None
    refused: ProduceRefusal | None = None
    lost: SmartConnectError | None = None

    @property
    def stored(self) -> bool:
        return self.base_offset is not None


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """`transactional_id` is that of the open transaction, None outside of one. `took` is told how many seconds each request took."""

    transactional_id: str | None = None
    timeout_ms: int = 30_000
    most_request_bytes: int = 8 << 20
    most_in_flight: int = 5
    took: Callable[[float], None] = _untold


class _Queue:
    """One partition: what waits, what is on its way (in order), whether it stands still. `known`: the leader has stored a batch, so it
    refuses those that are not next."""

    __slots__ = ("failed", "known", "sent", "waiting")

    def __init__(self) -> None:
        self.known = False
        self.waiting: deque[OutgoingBatch] = deque()
        self.sent: deque[OutgoingBatch] = deque()
        self.failed: list[OutgoingBatch] | None = None


_NOTHING = ProduceAnswer(0, {}, {})
_Taken = tuple[TopicPartition, _Queue, OutgoingBatch]


class _Asked(NamedTuple):
    """A request that is on its way: who answers it, and what it carries."""

    connection: Connection
    version: int
    answer: Awaitable[memoryview]
    taken: list[_Taken]
    since: float


class ProduceChannel:
    """Async; `run` is its task. `report` is given the outcomes of each request, from the event loop, and must not block."""

    def __init__(self, cluster: Cluster, node_id: int, options: ProduceOptions, report: Callable[[list[Outcome]], None]) -> None:
        self.node_id = node_id
        self._cluster, self._options, self._report = cluster, options, report
        self._queues: dict[TopicPartition, _Queue] = {}
        self._ready: dict[TopicPartition, _Queue] = {}
        self._work = asyncio.Event()
        self._places = asyncio.Semaphore(options.most_in_flight)
        self._answers: asyncio.Queue[_Asked] = asyncio.Queue()
        self._connection: Connection | None = None

    def put(self, tp: TopicPartition, batches: Iterable[OutgoingBatch]) -> None:
        """Queue batches behind those of their partition."""
        queue = self._queues.get(tp)
        if queue is None:
            queue = self._queues[tp] = _Queue()
        queue.waiting.extend(batches)
        self._offer(tp, queue)

    def unanswered(self, tp: TopicPartition) -> int:
        """Batches of a partition that have no outcome yet."""
        queue = self._queues.get(tp)
        return 0 if queue is None else len(queue.waiting) + len(queue.sent)

    def stands_still(self, tp: TopicPartition) -> bool:
        """A batch has failed, and all that was on its way behind it has its outcome."""
        queue = self._queues.get(tp)
        return queue is not None and queue.failed is not None and not queue.sent

    def resume(self, tp: TopicPartition) -> None:
        """Send what failed again, in its old order, before what waits."""
        queue = self._standing(tp)
        queue.waiting.extendleft(reversed(queue.failed or ()))
        queue.failed = None
        self._offer(tp, queue)

    def take_back(self, tp: TopicPartition) -> list[OutgoingBatch]:
        """Remove the partition: all of its batches from the first on that was not stored, in order."""
        queue = self._standing(tp)
        del self._queues[tp]
        self._ready.pop(tp, None)
        return [*(queue.failed or ()), *queue.waiting]

    async def clear(self) -> None:
        """Forget all that waits and all that has failed. Returns when everything that was sent has its outcome; the caller puts nothing
        until then."""
        self._forget_waiting()
        for _ in range(self._options.most_in_flight):
            await self._places.acquire()
        for _ in range(self._options.most_in_flight):
            self._places.release()
        self._queues.clear()

    def _forget_waiting(self) -> None:
        self._ready.clear()
        self._work.clear()
        for queue in self._queues.values():
            queue.waiting.clear()

    def _standing(self, tp: TopicPartition) -> _Queue:
        queue = self._queues[tp]
        if queue.sent:
            raise RuntimeError(f"batches of {tp} are on their way")
        return queue

    def _offer(self, tp: TopicPartition, queue: _Queue) -> None:
        if queue.waiting and queue.failed is None and (queue.known or not queue.sent):
            self._ready[tp] = queue
            self._work.set()

    async def run(self) -> None:
        """Until cancelled. A lost connection is made again; errors of credentials or versions end it."""
        loop = asyncio.get_running_loop()
        tasks = {loop.create_task(self._send_for_ever()), loop.create_task(self._settle_in_order())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        """Nobody will read what is still asked for."""
        if self._connection is not None:
            self._connection.close()
        while not self._answers.empty():
            with contextlib.suppress(ConnectionLost, MalformedData):
                await self._answers.get_nowait().answer

    async def _send_for_ever(self) -> None:
        while True:
            await self._work.wait()
            await self._places.acquire()
            await self._send()

    async def _send(self) -> None:
        """One request; it holds a place until it is settled."""
        try:
            connection = await self._connected()
        except (ConnectionLost, ClusterUnreachable) as error:
            self._settle(self._take(), _NOTHING, NeverSent(str(error)))
            return
        taken = self._take()
        if not taken:
            self._places.release()
            return
        version = connection.version(messages.PRODUCE)
        topics: dict[str, list[tuple[int, Buffer]]] = {}
        for tp, _, batch in taken:
            topics.setdefault(tp.topic, []).append((tp.partition, batch.records))
        parts = encode_produce(version, self._options.transactional_id, self._options.timeout_ms, topics)
        try:
            answer = await connection.submit(messages.PRODUCE, version, parts)
        except ConnectionLost as error:
            self._settle(taken, _NOTHING, error)
            return
        self._answers.put_nowait(_Asked(connection, version, answer, taken, self._cluster.clock()))

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._cluster.dial(self.node_id)
        return self._connection

    def _take(self) -> list[_Taken]:
        """The head batch of each waiting partition up to the request's size; who was left out comes first next time."""
        taken: list[_Taken] = []
        size, ready = 0, list(self._ready.items())
        for tp, queue in ready:
            batch = queue.waiting[0]
            size += len(batch.records)
            if taken and size > self._options.most_request_bytes:
                break
            taken.append((tp, queue, batch))
            queue.sent.append(queue.waiting.popleft())
            del self._ready[tp]
            if queue.known and queue.waiting:
                self._ready[tp] = queue
        if not self._ready:
            self._work.clear()
        return taken

    async def _settle_in_order(self) -> None:
        """A connection answers in order, and so must we tell it: a task for each answer could run before its elder."""
        while True:
            connection, version, answer, taken, since = await self._answers.get()
            try:
                answers = decode_produce(version, await answer)
            except (ConnectionLost, MalformedData) as error:
                connection.close()
                self._settle(taken, _NOTHING, error)
                continue
            connection.throttle(answers.throttle_ms / 1000)
            self._options.took(self._cluster.clock() - since)
            self._settle(taken, answers)

    def _settle(self, taken: list[_Taken], answer: ProduceAnswer, lost: SmartConnectError | None = None) -> None:
        """Tell what became of the batches of one request, and give its place back."""
        self._places.release()
        outcomes = []
        for tp, queue, batch in taken:
            queue.sent.popleft()
            base_offset = answer.stored.get(tp)
            if base_offset is not None:
                outcomes.append(Outcome(tp, batch, base_offset))
                if queue.failed is not None:
                    queue.failed.append(batch)
                elif not queue.known:
                    queue.known = True
                    self._offer(tp, queue)
                continue
            refused = answer.refused.get(tp)
            silent = lost or ConnectionLost(f"Kafka broker {self.node_id} says nothing about {tp}")
            outcomes.append(Outcome(tp, batch, None, refused, None if refused is not None else silent))
            queue.failed, queue.known = [*(queue.failed or ()), batch], False
            self._ready.pop(tp, None)
        if not self._ready:
            self._work.clear()
        if outcomes:
            self._report(outcomes)
