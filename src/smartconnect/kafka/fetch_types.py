"""What a fetcher takes and gives: options, the memory budget it asks, frames of raw record batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from smartconnect.kafka.buffers import FRAMES
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.offsets import READ_COMMITTED
from smartconnect.kafka.types import TopicPartition


class Admission(Protocol):
    """The memory budget of a worker as one fetcher sees it. Bytes are reserved before a request is sent and given back
    when what came is done with."""

    async def acquire(self, nbytes: int) -> None:
        """Wait until the budget has room."""
        ...

    def overdraw(self, nbytes: int) -> None:
        """Count bytes that came beyond what was reserved (a single batch may be larger than asked for); never waits."""
        ...

    def release(self, nbytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Sizes in bytes. The size asked for moves between `smallest_fetch` and `max_bytes` with what comes, so that an idle
    connection reserves little. An answer with nothing is asked again with `idle_wait_ms` and one byte as the minimum:
    the first record still arrives at once, and idle partitions cost fewer polls. A partition that nobody asked for longer than
    `trusted_pause_s` may have got another leader, another history or another topic: all is checked again.

    One of the `connections_per_leader` is used while answers are small, all of them while they are as large as they may be. A connection
    that asks for more than `session_above` partitions opens a session.

    After an answer below `small_answer` bytes that did not fill half of what was asked for, the next request of the connection waits: as
    `most_fetches_per_s` says with up to 50 partitions, and longer with more of them, up to `longest_pace_s`. So each partition brings more
    at a time."""

    min_bytes: int = 1
    max_wait_ms: int = 500
    idle_wait_ms: int = 2000
    smallest_fetch: int = 256 << 10
    max_bytes: int = 4 << 20
    partition_max_bytes: int = 4 << 20
    isolation: int = READ_COMMITTED
    connections_per_leader: int = 2
    session_above: int = 200
    most_fetches_per_s: int = 100
    longest_pace_s: float = 0.02
    small_answer: int = 64 << 10
    unknown_topic_grace_s: float = 5.0
    trusted_pause_s: float = 1.0


@dataclass(slots=True)
class FetchedPartition:
    """Whole batches from `fetch_offset` on (the first may begin before it), or an error that the caller decides about;
    after an error the partition rests until `seek`, `resume` or `assign`. `next_offset` is where the fetcher goes on.
    `diverged_at` ≥ 0 comes with OFFSET_OUT_OF_RANGE: the log was cut there by an unclean election (KIP-320)."""

    tp: TopicPartition
    fetch_offset: int
    next_offset: int
    error: KafkaCode | None
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: list[tuple[int, int]]
    records: memoryview
    leader_epoch: int = -1
    diverged_at: int = -1
    generation: int = field(default=0, repr=False)


class Frame:
    """One Fetch answer. `release` gives its bytes back to the budget and offers its memory for use again; views of it that
    still exist stay valid and keep the memory."""

    __slots__ = ("_admission", "_body", "nbytes", "partitions")

    def __init__(
        self, partitions: list[FetchedPartition], nbytes: int, admission: Admission, body: memoryview | None = None
    ) -> None:
        self.partitions, self.nbytes = partitions, nbytes
        self._admission: Admission | None = admission
        self._body = body

    def add(self, nbytes: int) -> None:
        """Count what is kept beside the bytes of the frame, because of them, until it is released. Never waits."""
        if self._admission is not None:
            self._admission.overdraw(nbytes)
            self.nbytes += nbytes

    def release(self) -> None:
        if self._admission is not None:
            self._admission.release(self.nbytes)
            self._admission = None
        if self._body is not None:
            FRAMES.give(self._body)
            self._body = None


@dataclass(frozen=True, slots=True)
class PartitionView:
    """What the fetcher knows about a partition it was given: for lag and progress. −1: nothing heard yet.
    `fetched_from` is the broker that answers for it now: the leader, or the replica in our rack."""

    position: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    leader: int
    leader_epoch: int
    fetched_from: int
    paused: bool
    error: KafkaCode | None
