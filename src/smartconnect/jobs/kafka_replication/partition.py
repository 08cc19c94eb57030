"""What a unit knows of one of its partitions, from the source's end to what is durable on the target:

    source end ── read ── [flights: on their way to the target, in order) ── acked ── position (committed on the target)

`read` is the next source offset to look at; everything before `acked` is on the target or was skipped by rule; everything before
`position` is committed together with the position itself. A *lane* is a target partition as the outbox sees it, a *flight* one batch
on its way. All of it belongs to one incarnation and lives in its event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from smartconnect.domain.task import Reason
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.lag import EndsSeen
from smartconnect.kafka.produce_channel import OutgoingBatch, ProduceChannel
from smartconnect.kafka.types import TopicPartition

if TYPE_CHECKING:
    from smartconnect.jobs.kafka_replication.offset_map import OffsetMap
    from smartconnect.jobs.kafka_replication.topic_view import Link

SEQUENCES: Final = 1 << 31
"""Sequence numbers go from 0 to 2³¹ − 1 and then begin again (kafka-replication.md §6.1, rule 7)."""


FLIGHT_BYTES: Final = 512
"""Memory of a flight beside the bytes of its batch: what is known of it, its view of them, its places in queues (433 B by tracemalloc),
its part of a request. Of a batch of one record of 100 B it is the most."""


class Hold:
    """Bytes that several flights lie in: given back when whoever made it and the last of them have let go."""

    __slots__ = ("_count", "_release")

    def __init__(self, release: Callable[[], None]) -> None:
        self._release, self._count = release, 1

    @property
    def flights(self) -> int:
        """That have not let go, while its maker has not."""
        return self._count - 1

    def keep(self, flights: int) -> None:
        self._count += flights

    def drop(self) -> None:
        self._count -= 1
        if self._count == 0:
            self._release()


@dataclass(slots=True, eq=False)
class Lane:
    """One target partition: the producer's next sequence number in it, what is to be sent, and where to.

    `waiting`: batches for when the gate is open; `due`: those that belong to the open transaction and have no channel yet.
    `clear`: nothing older of ours is open there (`left_open`). `admitted`: it is part of that transaction. `mending`: a batch has failed
    and is being seen to; what comes meanwhile waits."""

    tp: TopicPartition
    sequence: int = 0
    waiting: deque[Flight] = field(default_factory=deque)
    due: deque[Flight] = field(default_factory=deque)
    channel: ProduceChannel | None = None
    clear: bool = False
    admitted: bool = False
    mending: bool = False

    def begin_anew(self) -> None:
        """Nothing of it is on its way, and the producer has a new epoch."""
        self.waiting.clear()
        self.due.clear()
        self.sequence, self.channel, self.admitted, self.mending = 0, None, False, False

    def take_sequences(self, counts: Iterable[int]) -> list[int]:
        """The base sequences of batches of so many records."""
        bases, base = [], self.sequence
        for count in counts:
            bases.append(base)
            base = (base + count) % SEQUENCES
        self.sequence = base
        return bases


@dataclass(slots=True, eq=False)
class Flight(OutgoingBatch):
    """One batch on its way. `first`: source offset of its first record; `next`: source offset behind it and behind what was
    skipped after it. `stretches`: (first source offset, count, index in the batch), one for each row of consecutive offsets; None: all of
    it is one. `partition` None: a batch of our own (positions); `done` is told the base offset on the target."""

    lane: Lane
    sequence: int
    count: int
    nbytes: int
    hold: Hold | None = None
    partition: Partition | None = None
    first: int = 0
    next: int = 0
    stretches: tuple[tuple[int, int, int], ...] | None = None
    rewritten: bool = False
    leader_epoch: int = -1
    done: asyncio.Future[int] | None = None


@dataclass(slots=True, eq=False)
class Jump:
    """Where a partition goes on as soon as nothing of it is on its way and the registry knows of its gap: after a gap, or because its topic
    was made again. `offset` None: behind what is on the target then, or, where that is forgotten, at the earliest record of the source."""

    offset: int | None
    link: Link | None = None
    forgets_position: bool = False
    reported: bool = False


@dataclass(slots=True, eq=False)
class Partition:
    """One partition of a unit. `position` is None until its first commit; `stored` is what the target holds.

    `blocked` stops this partition alone; with `retry_at` it is tried again by itself. `rewrite`: source offset of a batch that the target
    refused as it was: it is decoded once.
    `left_out`: source offsets of records that the target refuses and `on_rejected_record` leaves out; `clamps`: their timestamps are.
    `landed` counts flights that are on the target, `landed_before` those in the position being committed, `landed_committed` those in the
    committed one. `rewinds` counts: who has waited for something sees whether what it holds is still the next. `told`: the code of the
    last block that was told, until something lands again that was fetched after it. `gaps` were counted in this run, `gaps_passed` of them
    lie before `acked`, `gaps_committed` before the committed position: where the first two differ, the next gap is one that was counted
    already, and `gap` is what was told of it. `missing`: the position that was reported in this run, where the target holds a smaller one
    or none."""

    link: Link
    lane: Lane
    read: int
    acked: int
    position: int | None = None
    stored: StoredPosition | None = None
    leader_epoch: int = -1
    acked_epoch: int = -1
    target_next: int = -1
    selected: bool = True
    fetching: bool = False
    resting: bool = False
    flights: deque[Flight] = field(default_factory=deque)
    nbytes_in_air: int = 0
    landed: int = 0
    landed_before: int = 0
    landed_committed: int = 0
    jump: Jump | None = None
    map: OffsetMap | None = None
    rewrite: int | None = None
    left_out: frozenset[int] = frozenset()
    clamps: bool = False
    crc_failures: int = 0
    start_offset: int | None = None
    initial_end: int | None = None
    ends: EndsSeen = field(default_factory=EndsSeen)
    held_back: int = 0
    gaps: int = 0
    gaps_passed: int = 0
    gaps_committed: int = 0
    gap: str = ""
    missing: int | None = None
    records: int = 0
    nbytes: int = 0
    blocked: Reason | None = None
    told: str | None = None
    retry_at: float | None = None
    retries: int = 0
    rewinds: int = 0
    former: set[UUID] = field(default_factory=set)

    @property
    def tp(self) -> TopicPartition:
        """The source partition."""
        return self.link.source

    @property
    def reached(self) -> int:
        """Up to here everything is durable on the target or needs no copying: with no data behind the position, what was skipped since
        counts although it is committed only with the next data."""
        if self.landed == self.landed_committed and not self.flights:
            return self.acked
        return self.committed

    @property
    def committed(self) -> int:
        """Where the next owner would begin, and this one after an abort."""
        return self.position if self.position is not None else (self.start_offset or 0)

    @property
    def is_stored(self) -> bool:
        """The next owner would go on from here too, and knows of the same gaps: neither skipped nor jumped since the last commit."""
        stored = self.stored
        known = (self.start_offset or 0, 0) if stored is None else (stored.next_source, stored.gaps)
        return known == (self.acked, self.gaps_passed)

    @property
    def expected(self) -> int | None:
        """The position that the next owner must find on the target at least. A jump back is to be committed."""
        if self.missing is not None:
            return self.missing
        if self.position is None or self.jump is None or self.jump.offset is None:
            return self.position
        return min(self.position, self.jump.offset)

    def is_former(self, link: Link) -> bool:
        """A link to a topic that this one has replaced: a broker that lags behind still tells of it. Ids are never used again."""
        return link.source_topic_id in self.former or link.target_topic_id in self.former

    def relink(self, link: Link) -> None:
        """Another topic of the same name, on either side."""
        before = {self.link.source_topic_id, self.link.target_topic_id} - {link.source_topic_id, link.target_topic_id}
        self.former |= {topic_id for topic_id in before if topic_id is not None}
        self.link = link

    @property
    def wants_fetch(self) -> bool:
        return self.selected and self.blocked is None and self.jump is None

    def skip_to(self, offset: int) -> None:
        """Everything before `offset` needs no copying, or is on its way."""
        self.read = offset
        if self.flights:
            self.flights[-1].next = offset
        else:
            self.acked, self.acked_epoch = offset, self.leader_epoch

    def landed_on_target(self, flight: Flight, base_offset: int) -> None:
        """The oldest flight is acknowledged, with this base offset."""
        self.landed += 1
        self.nbytes_in_air -= flight.nbytes
        self.acked, self.acked_epoch = flight.next, flight.leader_epoch
        self.target_next = base_offset + flight.count
        if self.map is not None:
            for first, count, index in flight.stretches or ((flight.first, flight.count, 0),):
                self.map.add(first, first + count - 1, base_offset + index)
            self.map.skip_to(flight.next)
        self.records += flight.count
        self.nbytes += flight.nbytes
        if self.blocked is None:  # what was on its way when the source began to refuse it cures nothing
            self.retries, self.told = 0, None
        if self.rewrite is not None and self.acked > self.rewrite:
            self.rewrite = None
        if self.left_out:
            self.left_out = frozenset(offset for offset in self.left_out if offset >= self.acked)

    def rewind(self) -> None:
        """Look again at everything that is not on the target. Nothing of it may be on its way."""
        self.rewinds += 1
        self.flights.clear()
        self.nbytes_in_air = 0
        self.read, self.leader_epoch = self.acked, self.acked_epoch

    def roll_back(self) -> bool:
        """The open transaction is aborted: nothing behind the committed position is on the target. False where it held nothing."""
        self.lane.begin_anew()
        if not self.flights and self.landed == self.landed_committed:
            return False
        for flight in self.flights:
            if flight.hold is not None:
                flight.hold.drop()
        if self.landed != self.landed_committed:
            self._forget_landed()
        return True

    def _forget_landed(self) -> None:
        self.landed = self.landed_committed
        self.acked = self.committed
        self.gaps_passed = self.gaps_committed
        stored, link = self.stored, self.link
        same = stored is not None and stored.source_topic_id == link.source_topic_id and stored.next_source == self.acked
        self.acked_epoch = stored.source_leader_epoch if stored is not None and same else -1
        same = stored is not None and stored.target_topic_id == link.target_topic_id
        self.target_next = stored.next_target if stored is not None and same else -1
        if self.map is not None:
            self.map.cut(self.acked)
