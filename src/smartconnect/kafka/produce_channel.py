"""One produce connection to one leader: batches go out in order per partition, many partitions in a request, several
requests in flight (kafka-replication.md §6.2).

Guarantees: a request takes the head batch of each waiting partition and never two of one; at most `most_in_flight` requests
wait for an answer; the bytes of a batch are sent from where they lie. Each batch ends in exactly one `Outcome`, in order per
partition. After the first outcome of a partition that is not a success the partition stands still with what is left of
it, in order, until its owner says `resume` (the same bytes again, in the same order) or `take_back`s it. The first batch of a
partition, and the first after a failure, goes alone: a leader that knows nothing of a producer takes *any* sequence number, so
that a second batch could overtake a first one that came some ms too early (a new topic's NOT_LEADER_OR_FOLLOWER). Nothing is retried
here: whether a repeat is right depends on the delivery mode. In a transaction use one channel per leader: the broker
verifies one partition at a time (§6.1). The caller bounds what it puts in."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from smartconnect.domain.errors import ClusterUnreachable, MalformedData, SmartConnectError
from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.produce_codec import Buffer, ProduceAnswer, decode_produce, encode_produce
from smartconnect.kafka.types import TopicPartition


class OutgoingBatch(NamedTuple):
    """One whole batch, header patched. `tag` is the caller's, returned with the outcome."""

    records: Buffer
    tag: object = None


class Outcome(NamedTuple):
    """`answer` is the broker's; None with `lost`: no answer came, the batch may or may not be stored."""

    tp: TopicPartition
    batch: OutgoingBatch
    answer: ProduceAnswer | None
    lost: SmartConnectError | None

    @property
    def stored(self) -> bool:
        return self.answer is not None and self.answer.error in (None, KafkaCode.DUPLICATE_SEQUENCE_NUMBER)


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """`transactional_id` is that of the open transaction, None outside of one."""

    transactional_id: str | None = None
    timeout_ms: int = 30_000
    most_request_bytes: int = 8 << 20
    most_in_flight: int = 5


class _Queue:
    """One partition: what waits, what is on its way (in order), whether it stands still. `known`: the leader has stored a batch, so it
    refuses those that are not next."""

    __slots__ = ("failed", "known", "sent", "waiting")

    def __init__(self) -> None:
        self.known = False
        self.waiting: deque[OutgoingBatch] = deque()
        self.sent: deque[OutgoingBatch] = deque()
        self.failed: list[OutgoingBatch] | None = None


class _Asked(NamedTuple):
    """A request that is on its way: who answers it, and what it carries."""

    connection: Connection
    version: int
    answer: Awaitable[memoryview]
    taken: dict[TopicPartition, OutgoingBatch]


class ProduceChannel:
    """Async; `run` is its task. `report` is called once for each batch, from the event loop, and must not block."""

    def __init__(self, cluster: Cluster, node_id: int, options: ProduceOptions, report: Callable[[Outcome], None]) -> None:
        self.node_id = node_id
        self._cluster, self._options, self._report = cluster, options, report
        self._queues: dict[TopicPartition, _Queue] = {}
        self._ready: dict[TopicPartition, _Queue] = {}
        self._work = asyncio.Event()
        self._places = asyncio.Semaphore(options.most_in_flight)
        self._answers: asyncio.Queue[_Asked] = asyncio.Queue()
        self._connection: Connection | None = None

    def put(self, tp: TopicPartition, batch: OutgoingBatch) -> None:
        """Queue a batch behind those of its partition."""
        queue = self._queues.get(tp)
        if queue is None:
            queue = self._queues[tp] = _Queue()
        queue.waiting.append(batch)
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
        """Remove the partition: all of its batches that were not stored, in order."""
        queue = self._standing(tp)
        del self._queues[tp]
        self._ready.pop(tp, None)
        return [*(queue.failed or ()), *queue.waiting]

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
            self._settle(self._take(), {}, error)
            return
        taken = self._take()
        if not taken:
            self._places.release()
            return
        version = connection.version(messages.PRODUCE)
        topics: dict[str, list[tuple[int, Buffer]]] = {}
        for tp, batch in taken.items():
            topics.setdefault(tp.topic, []).append((tp.partition, batch.records))
        parts = encode_produce(version, self._options.transactional_id, self._options.timeout_ms, topics)
        try:
            answer = await connection.submit(messages.PRODUCE, version, parts)
        except ConnectionLost as error:
            self._settle(taken, {}, error)
            return
        self._answers.put_nowait(_Asked(connection, version, answer, taken))

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._cluster.dial(self.node_id)
        return self._connection

    def _take(self) -> dict[TopicPartition, OutgoingBatch]:
        """The head batch of each waiting partition up to the request's size; who was left out comes first next time."""
        taken: dict[TopicPartition, OutgoingBatch] = {}
        size = 0
        for tp, queue in list(self._ready.items()):
            batch = queue.waiting[0]
            if taken and size + len(batch.records) > self._options.most_request_bytes:
                break
            size += len(batch.records)
            taken[tp] = batch
            queue.sent.append(queue.waiting.popleft())
            del self._ready[tp]
            if queue.waiting and queue.known:
                self._ready[tp] = queue
        if not self._ready:
            self._work.clear()
        return taken

    async def _settle_in_order(self) -> None:
        """A connection answers in order, and so must we tell it: a task for each answer could run before its elder."""
        while True:
            connection, version, answer, taken = await self._answers.get()
            try:
                throttle_ms, answers = decode_produce(version, await answer)
            except (ConnectionLost, MalformedData) as error:
                connection.close()
                self._settle(taken, {}, error)
                continue
            connection.throttle(throttle_ms / 1000)
            self._settle(taken, answers, None)

    def _settle(
        self,
        taken: dict[TopicPartition, OutgoingBatch],
        answers: dict[TopicPartition, ProduceAnswer],
        lost: SmartConnectError | None,
    ) -> None:
        """Tell what became of the batches of one request, and give its place back."""
        self._places.release()
        for tp, batch in taken.items():
            queue = self._queues[tp]
            queue.sent.popleft()
            answer = answers.get(tp)
            if answer is None and lost is None:
                lost = ConnectionLost(f"Kafka broker {self.node_id} says nothing about {tp}")
            outcome = Outcome(tp, batch, answer, None if answer is not None else lost)
            if not outcome.stored:
                queue.failed, queue.known = [*(queue.failed or ()), batch], False
                self._ready.pop(tp, None)
            elif not queue.known and queue.failed is None:
                queue.known = True
                self._offer(tp, queue)
            self._report(outcome)
        if not self._ready:
            self._work.clear()
