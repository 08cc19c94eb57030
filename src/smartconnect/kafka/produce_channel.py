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
from collections import deque
from collections.abc import Callable, Iterable
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
    answer: asyncio.Future[memoryview]
    taken: list[_Taken]
    since: float


class ProduceChannel:
    """`report` is given the outcomes of each request, from the event loop, and must not block.

    Requests go out and answers are heard in callbacks of the loop, with no task between: most of them carry little. `run` is the
    channel's task; it makes the connection, and waits where the connection has to wait."""

    def __init__(self, cluster: Cluster, node_id: int, options: ProduceOptions, report: Callable[[list[Outcome]], None]) -> None:
        self.node_id = node_id
        self._cluster, self._options, self._report = cluster, options, report
        self._loop = asyncio.get_running_loop()
        self._queues: dict[TopicPartition, _Queue] = {}
        self._ready: dict[TopicPartition, _Queue] = {}
        self._asked: deque[_Asked] = deque()
        self._connection: Connection | None = None
        self._version = 0
        self._looking = False
        self._held_up = asyncio.Event()
        self._all_heard = asyncio.Event()
        self._all_heard.set()
        self._failure: Exception | None = None

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
        self._ready.clear()
        for queue in self._queues.values():
            queue.waiting.clear()
        await self._all_heard.wait()
        self._queues.clear()

    def _standing(self, tp: TopicPartition) -> _Queue:
        queue = self._queues[tp]
        if queue.sent:
            raise RuntimeError(f"batches of {tp} are on their way")
        return queue

    def _offer(self, tp: TopicPartition, queue: _Queue) -> None:
        """Once in this round of the loop it is looked at what is ready: what is put together shares requests."""
        if queue.waiting and queue.failed is None and (queue.known or not queue.sent):
            self._ready[tp] = queue
            if not self._looking:
                self._looking = True
                self._loop.call_soon(self._go_on)

    async def run(self) -> None:
        """Until cancelled. A lost connection is made again; errors of credentials or versions end it."""
        try:
            while True:
                await self._held_up.wait()
                self._held_up.clear()
                if self._failure is not None:
                    raise self._failure
                await self._all_heard.wait()
                await self._prepare()
        finally:
            self._close()

    async def _prepare(self) -> None:
        """Go on as soon as there is a connection that may be sent on. With none, what would go out first was never sent."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await self._cluster.dial(self.node_id)
                self._version = self._connection.version(messages.PRODUCE)
            await self._connection.ready()
        except (ConnectionLost, ClusterUnreachable) as error:
            self._settle(self._take(), _NOTHING, NeverSent(str(error)))
        self._send()

    def _close(self) -> None:
        """Nobody will hear what is still asked for."""
        if self._connection is not None:
            self._connection.close()
        for asked in self._asked:
            if asked.answer.done():
                asked.answer.exception()
        self._asked.clear()

    def _go_on(self, _: object = None) -> None:
        """Hear what is answered, and send what may be sent."""
        self._looking = False
        try:
            self._hear()
            self._send()
        except Exception as error:  # noqa: BLE001  # `run` raises it
            self._failure = error
            self._held_up.set()

    def _hear(self) -> None:
        """A connection answers in order, and so it is told."""
        while self._asked and self._asked[0].answer.done():
            connection, answer, taken, since = self._asked.popleft()
            if not self._asked:
                self._all_heard.set()
            try:
                answers = decode_produce(self._version, messages.answer_body(messages.PRODUCE, self._version, answer.result()))
            except (ConnectionLost, MalformedData) as error:
                connection.close()
                self._settle(taken, _NOTHING, error)
                continue
            connection.throttle(answers.throttle_ms / 1000)
            self._options.took(self._cluster.clock() - since)
            self._settle(taken, answers)

    def _send(self) -> None:
        """As many requests as may be on their way, while the connection may be sent on."""
        while self._ready and len(self._asked) < self._options.most_in_flight:
            connection = self._connection
            if connection is None or not connection.is_ready:
                self._held_up.set()
                return
            taken = self._take()
            try:
                answer = connection.send(messages.PRODUCE, self._version, self._request(taken))
            except ConnectionLost as error:
                self._settle(taken, _NOTHING, error)
                continue
            self._asked.append(_Asked(connection, answer, taken, self._cluster.clock()))
            self._all_heard.clear()
            answer.add_done_callback(self._go_on)

    def _request(self, taken: list[_Taken]) -> list[Buffer]:
        topics: dict[str, list[tuple[int, Buffer]]] = {}
        for tp, _, batch in taken:
            topics.setdefault(tp.topic, []).append((tp.partition, batch.records))
        return encode_produce(self._version, self._options.transactional_id, self._options.timeout_ms, topics)

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
        return taken

    def _settle(self, taken: list[_Taken], answer: ProduceAnswer, lost: SmartConnectError | None = None) -> None:
        """Tell what became of the batches of one request."""
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
        if outcomes:
            self._report(outcomes)
