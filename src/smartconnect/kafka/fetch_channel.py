"""One connection of a fetcher: asks one broker for all partitions or its share of them, one request at a time, for ever.

Guarantees: memory is reserved before each request and what did not come is given back; a partition's answer counts only if
nobody moved the partition meanwhile; topics are asked for by id where that can be, so that one that was made again under the
same name is never read on as the old one, however soon (KIP-516); whatever goes wrong with the connection or a leader makes
the partitions homeless, and `fetch_placement` finds them a new one. Used by `fetcher` alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from smartconnect.domain.errors import ClusterUnreachable, MalformedData
from smartconnect.kafka import messages
from smartconnect.kafka.batch import extent
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, KafkaCode, failure
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import ConnectionLost
from smartconnect.kafka.fetch_codec import (
    BY_ID_FROM,
    LAST_BY_NAME,
    FetchAnswer,
    FetchQuestion,
    PartitionAnswer,
    decode_fetch,
    encode_fetch,
)
from smartconnect.kafka.fetch_echo import Echo, Request, Shape, throttle_ms
from smartconnect.kafka.fetch_session import FetchSession
from smartconnect.kafka.fetch_types import Admission, FetchedPartition, FetchOptions, Frame
from smartconnect.kafka.partition import PartitionState
from smartconnect.kafka.types import TopicPartition

FEW_PARTITIONS = 50
BROKERS_PATIENCE_S = 0.1
"""A channel that waits longer than this between two requests lets the broker answer at once: there, waiting for enough bytes costs a look
at all partitions for each batch that is written."""
CURED_BY_PLACING = LEADER_MOVED | {
    KafkaCode.UNKNOWN_TOPIC_OR_PARTITION,
    KafkaCode.UNKNOWN_SERVER_ERROR,
    KafkaCode.REQUEST_TIMED_OUT,
    KafkaCode.NETWORK_EXCEPTION,
}
"""A topic id that the broker does not know, or no longer, is among them: placement reads what there is under the name now."""
SESSION_LOST = {
    KafkaCode.FETCH_SESSION_ID_NOT_FOUND,
    KafkaCode.INVALID_FETCH_SESSION_EPOCH,
    KafkaCode.FETCH_SESSION_TOPIC_ID_ERROR,
}


class ChannelOwner(Protocol):
    """What a channel needs from its fetcher. `paused` counts partitions that may be resumed at any time."""

    @property
    def paused(self) -> int: ...

    def state(self, tp: TopicPartition) -> PartitionState | None: ...
    async def hungry(self) -> None: ...
    def regroup(self, channel: FetchChannel) -> None: ...
    def deliver(self, frame: Frame) -> None: ...
    def homeless(self, states: Sequence[PartitionState], code: KafkaCode) -> None: ...
    def trouble(self, node_id: int, error: Exception | None) -> None: ...


class Window:
    """Bytes to ask for: doubles when an answer fills half of it, halves when it stays below an eighth."""

    def __init__(self, options: FetchOptions) -> None:
        self._least = min(max(options.smallest_fetch, options.min_bytes), options.max_bytes)
        self._most = options.max_bytes
        self.size = self._least

    def came(self, nbytes: int) -> None:
        if nbytes * 2 >= self.size:
            self.size = min(self.size * 2, self._most)
        elif nbytes * 8 < self.size:
            self.size = max(self.size // 2, self._least)

    @property
    def full(self) -> bool:
        return self.size >= self._most > self._least

    @property
    def calm(self) -> bool:
        return self.size <= self._least


class FetchChannel:
    """`run` is the channel's task; `add` and `remove` may be called at any time."""

    def __init__(self, node_id: int, owner: ChannelOwner, cluster: Cluster, options: FetchOptions, admission: Admission) -> None:
        self.node_id = node_id
        self._owner, self._cluster, self._options, self._admission = owner, cluster, options, admission
        self._session = FetchSession(options.session_above)
        self._echo = Echo()
        self._window = Window(options)
        self._work = asyncio.Event()
        self._connection: Connection | None = None
        self.waits = False
        self._idle = False
        self._next_send = 0.0

    def __len__(self) -> int:
        return len(self._session)

    @property
    def members(self) -> list[PartitionState]:
        return self._session.members

    @property
    def full(self) -> bool:
        """Answers are as large as they may be."""
        return self._window.full

    @property
    def calm(self) -> bool:
        """Answers are small."""
        return self._window.calm

    def add(self, state: PartitionState) -> None:
        """Fetch a partition from now on, or again after it has rested or moved."""
        state.channel = self
        self._session.add(state)
        self._work.set()

    def remove(self, state: PartitionState) -> None:
        """Leave a partition out of requests; what is on its way is still taken while it stays ours."""
        self._session.remove(state)
        if not len(self._session):
            self._work.clear()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            await self._pace()
            await self._owner.hungry()
            self._owner.regroup(self)
            window = self._window.size
            await self._admission.acquire(window)
            try:
                came = await self._fetch(window)
            except (ConnectionLost, ClusterUnreachable, MalformedData) as error:
                self._lost(error)
                came = 0
            except BaseException:
                self._admission.release(window)
                raise
            self._settle(window, came)

    def _settle(self, window: int, came: int) -> None:
        """`came` bytes are held by a frame; the rest of the reservation goes back."""
        if came > window:
            self._admission.overdraw(came - window)
        elif came < window:
            self._admission.release(window - came)

    def _pace_s(self) -> float:
        """Between two small answers: thousands of partitions always have some records, and each answer costs the same."""
        options = self._options
        least_s = 1 / options.most_fetches_per_s
        return min(least_s * max(1.0, len(self._session) / FEW_PARTITIONS), max(least_s, options.longest_pace_s))

    async def _pace(self) -> None:
        pause = self._next_send - self._cluster.clock()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _fetch(self, window: int) -> int:
        """One request and its answer; the bytes that the delivered frame holds."""
        connection = self._connection
        if connection is None or connection.closed:
            connection = self._connection = await self._cluster.dial(self.node_id)
        if not len(self._session):
            return 0
        options, now = self._options, self._cluster.clock()
        pace_s = self._pace_s()
        wait_ms = options.idle_wait_ms if self._idle else options.max_wait_ms
        least = 1 if self._idle or pace_s > BROKERS_PATIENCE_S else options.min_bytes
        request = self._request(Shape(connection.version(messages.FETCH), wait_ms, least, window), now)
        timeout_s = self._cluster.timing.request_s + wait_ms / 1000
        self.waits = True
        try:
            body = await connection.exchange(messages.FETCH, request.version, [request.body], timeout_s=timeout_s)
        finally:
            self.waits = False
        self._window.came(len(body))
        self._next_send = now + pace_s if len(body) < min(options.small_answer, window // 2) else 0.0
        if self._session.repeats and self._echo.again(body):
            connection.throttle(throttle_ms(body) / 1000)
            self._owner.trouble(self.node_id, None)
            self._idle = not self._owner.paused
            return 0
        answer = decode_fetch(request.version, body, self._session.names)
        connection.throttle(answer.throttle_ms / 1000)
        self._owner.trouble(self.node_id, None)
        came = self._take(answer, body)
        if not came and not answer.error and self._session.repeats and not self._follows():
            self._echo.heard(body)
        return came

    def _request(self, shape: Shape, now: float) -> Request:
        """The next request; the last one, as it is, where it would say the same."""
        again = self._echo.request(shape) if self._session.repeats else None
        if again is not None:
            return again
        most = min(self._options.partition_max_bytes, shape.max_bytes)
        listing = self._session.next_listing(most, now, takes_ids=shape.offered >= BY_ID_FROM)
        version = shape.offered if listing.by_id else min(shape.offered, LAST_BY_NAME)
        question = FetchQuestion(
            shape.wait_ms,
            shape.min_bytes,
            shape.max_bytes,
            self._options.isolation,
            listing.session_id,
            listing.session_epoch,
            self._cluster.rack,
        )
        request = Request(version, encode_fetch(version, question, listing.wanted, listing.forgotten))
        self._echo.asked(shape, request)
        return request

    def _follows(self) -> bool:
        """Whether a partition is fetched here instead of from its leader: for a while, whatever comes."""
        return any(state.follower == self.node_id for state in self._session.members)

    def _take(self, answer: FetchAnswer, body: memoryview) -> int:
        now = self._cluster.clock()
        if code := failure(answer.error):
            if code in SESSION_LOST:
                self._session.refused(now)
                return 0
            raise ConnectionLost(f"Kafka broker {self.node_id} refuses to be fetched from: {code.name}")
        self._session.answered(answer.session_id, now)
        parts = []
        for part in answer.partitions:
            state = self._owner.state(TopicPartition(part.topic, part.partition))
            if state is None or state.channel is not self or state.listed_generation != state.generation:
                continue
            taken = self._take_partition(state, part, now)
            if taken is not None:
                parts.append(taken)
        self._idle = not parts and not self._owner.paused
        if not parts:
            return 0
        self._owner.deliver(Frame(parts, len(body), self._admission, body))
        return len(body)

    def _take_partition(self, state: PartitionState, part: PartitionAnswer, now: float) -> FetchedPartition | None:
        code = failure(part.error)
        if code is not None:
            return self._take_error(state, part, code)
        state.high_watermark, state.last_stable_offset = part.high_watermark, part.last_stable_offset
        state.log_start_offset = part.log_start_offset
        if part.preferred_replica >= 0 and part.preferred_replica != self.node_id:
            state.follower, state.follower_until = part.preferred_replica, now + self._cluster.timing.metadata_age_s
            self._leave(state, KafkaCode.NONE)
            return None
        if state.follower == self.node_id and now >= state.follower_until:
            state.follower = -1
            self._leave(state, KafkaCode.NONE)
        if not len(part.records):
            return None
        found = extent(part.records)
        if not found.end:
            return None if found.intact else self._hand_over(state, part, KafkaCode.CORRUPT_MESSAGE)
        fetched = FetchedPartition(
            tp=state.tp,
            fetch_offset=state.offset,
            next_offset=max(found.next_offset, state.offset),
            error=None,
            high_watermark=part.high_watermark,
            last_stable_offset=part.last_stable_offset,
            log_start_offset=part.log_start_offset,
            aborted=part.aborted,
            records=part.records[: found.end],
            leader_epoch=found.leader_epoch,
            generation=state.generation,
        )
        state.offset, state.position_epoch = fetched.next_offset, found.leader_epoch
        state.failures, state.unknown_since = 0, None
        if state.channel is self and not state.rests:
            self._session.changed(state)
        return fetched

    def _take_error(self, state: PartitionState, part: PartitionAnswer, code: KafkaCode) -> FetchedPartition | None:
        if code is KafkaCode.OFFSET_OUT_OF_RANGE and state.follower == self.node_id:
            state.follower = -1
            self._leave(state, KafkaCode.NONE)
            return None
        if code in CURED_BY_PLACING:
            self._leave(state, code)
            return None
        return self._hand_over(state, part, code)

    def _hand_over(self, state: PartitionState, part: PartitionAnswer, code: KafkaCode) -> FetchedPartition:
        state.error = code
        self.remove(state)
        return FetchedPartition(
            tp=state.tp,
            fetch_offset=state.offset,
            next_offset=state.offset,
            error=code,
            high_watermark=part.high_watermark,
            last_stable_offset=part.last_stable_offset,
            log_start_offset=part.log_start_offset,
            aborted=[],
            records=part.records[:0],
            generation=state.generation,
        )

    def _leave(self, state: PartitionState, code: KafkaCode) -> None:
        self.remove(state)
        state.channel = None
        self._owner.homeless([state], code)

    def _lost(self, error: Exception) -> None:
        """The connection is of no use any more: everybody on it needs another home."""
        self.close()
        self._connection = None
        self._session.disconnected()
        self._idle = False
        states = self.members
        for state in states:
            self.remove(state)
            state.channel = None
            if state.follower == self.node_id:
                state.follower = -1
        self._owner.trouble(self.node_id, error)
        self._owner.homeless(states, KafkaCode.NETWORK_EXCEPTION)
