"""What a unit knows of one of its partitions, from the source's end to what is durable in the store:

    source end ── read ── [open object) ── [sealed objects …) ── position ── [pending entries: committed, not yet dropped)

`read` is the next offset to be joined. An *open* object is being filled; a *sealed* one has its end and waits for its ETags and its commit;
a *pending* one is named by the committed position until it is visible and left out of a later commit.

Only two hands touch an object's bytes: the joining thread while a frame is being taken in, and the event loop otherwise; never both.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from smartconnect.domain.task import Reason
from smartconnect.jobs.lag import EndsSeen
from smartconnect.jobs.obs_dump.buffer import ObjectBuffer
from smartconnect.jobs.obs_dump.entries import MAX_ENTRIES, Entry
from smartconnect.kafka.types import TopicPartition

if TYPE_CHECKING:
    from smartconnect.jobs.obs_dump.uploads import ObjectUpload


@dataclass(slots=True, eq=False)
class OpenObject:
    """An object being filled. `start` begins its range, `first_offset` is its first record; `deadline` and `wall` are the monotonic time
    of its cut by interval and the wall time of its opening; `streamed` bytes have left as parts. Offsets below `end` are in it."""

    start: int
    first_offset: int
    deadline: float
    wall: float
    buffer: ObjectBuffer
    end: int
    leader_epoch: int
    records: int = 0
    streamed: int = 0
    upload: ObjectUpload | None = None

    @property
    def size(self) -> int:
        return self.streamed + self.buffer.length


@dataclass(slots=True, eq=False)
class SealedObject:
    """An object that has its end. `entry` is there once every part is in the store (P1). `replaces`: the lost upload it redelivers."""

    start: int
    end: int
    leader_epoch: int
    records: int
    size: int
    upload: ObjectUpload
    entry: Entry | None = None
    replaces: Entry | None = None


@dataclass(slots=True, eq=False)
class PendingEntry:
    """A prepared upload that the committed position names. `upload` and `records` are known if this incarnation made it; `topic_id`: of
    the topic that its records are from, None where nobody knows it."""

    entry: Entry
    run: int
    upload: ObjectUpload | None = None
    records: int = 0
    topic_id: UUID | None = None
    done: bool = False


@dataclass(slots=True, eq=False)
class Rest:
    """Kafka refuses the partition for now, after `tries` in vain. It is tried again at the monotonic time `until`; `trying`: it is now."""

    reason: Reason
    until: float = 0.0
    tries: int = 0
    trying: bool = False


@dataclass(slots=True, eq=False)
class Partition:
    """One partition of a unit. `position` is None until its first commit.

    `next_start` begins the range of the next object, so that ranges touch although offsets have holes; `position_start` is what that was
    when the position was committed. `replacements` are prepared uploads that redeliver lost ones. `ends`: where the source ended, and
    since when that is not durable. `expected`: what the position was, where it is not that any more and has to be set by hand. `foreign`:
    it was written by somebody else, and stays as it is. `recommit`: commit even what has not changed. `gone`: its topic does not exist any
    more. `topic_id`: of the topic that the position is of; `remade_as`: of another one that has its name now, until the start in that one
    is committed; it is fetched when the registry has been `told`, which waits until the position names nothing of `topic_before` any more:
    the next owner would look for that in the new one. `start_unknown`: its leader has not told where that other topic begins. `stopped`:
    it stands still until somebody acts, or the store takes its object; `rest`: until Kafka takes it again. Both concern this partition
    alone."""

    tp: TopicPartition
    read: int
    next_start: int
    position: int | None = None
    position_epoch: int = -1
    position_start: int = 0
    leader_epoch: int = -1
    selected: bool = True
    gone: bool = False
    topic_id: UUID | None = None
    remade_as: UUID | None = None
    topic_before: UUID | None = None
    told: bool = True
    start_unknown: bool = False
    start_offset: int | None = None
    initial_end: int | None = None
    expected: int | None = None
    ends: EndsSeen = field(default_factory=EndsSeen)
    held_back: int = 0
    open: OpenObject | None = None
    sealed: deque[SealedObject] = field(default_factory=deque)
    pending: list[PendingEntry] = field(default_factory=list)
    replacements: list[SealedObject] = field(default_factory=list)
    entry_limit: int = MAX_ENTRIES
    fetching: bool = False
    in_transaction: bool = False
    rewinding: bool = False
    recommit: bool = False
    publishing: bool = False
    foreign: bool = False
    crc_failures: int = 0
    gaps: int = 0
    records: int = 0
    nbytes: int = 0
    committed_at: float = 0.0
    moved_since: float | None = None
    stopped: Reason | None = None
    rest: Rest | None = None

    @property
    def blocked(self) -> Reason | None:
        """Why it stands still."""
        return self.stopped or (self.rest.reason if self.rest is not None else None)

    @property
    def reached(self) -> int | None:
        """The position, as it is told of. That of a deleted topic is, until its gap has been told: the next owner would not do it."""
        return None if self.gone and not self.selected else self.position

    @property
    def may_seal(self) -> bool:
        """A promise has room for one more entry (obs-dump.md §3: at most four; split, never spill)."""
        return len(self.pending) + len(self.sealed) < self.entry_limit

    @property
    def wants_fetch(self) -> bool:
        """What predecessors promised appears first, and what was promised of an earlier topic: names might meet."""
        rests = self.rest is not None and not self.rest.trying
        if not self.selected or self.gone or self.stopped is not None or rests or self.rewinding:
            return False
        if self.start_unknown or not self.told:
            return False
        return all(p.done for p in self.pending if p.upload is None or p.topic_id != self.topic_id)

    @property
    def names_another(self) -> bool:
        """The position names uploads with records of another topic than its own."""
        return any(p.topic_id != self.topic_id for p in self.pending)

    @property
    def superseded(self) -> bool:
        """Another topic has its name, and its start in that one is not decided: nothing of it is committed, a position of the old topic
        would pass for one in the new."""
        return self.remade_as is not None and self.position is not None

    @property
    def forgotten(self) -> bool:
        """Kafka has forgotten the position with its topic: nothing of it is committed, no next owner hears of what is pending."""
        return self.gone or self.superseded

    @property
    def settled(self) -> bool:
        """Nothing is on its way: no open or sealed object, nothing pending, and the position is where we have read, if it has one yet."""
        if self.forgotten:
            return all(pending.done for pending in self.pending)
        moved = self.position is not None and self.position != self.read
        return self.open is None and not self.sealed and not self.pending and not self.in_transaction and not moved

    def forget_uncommitted(self) -> list[OpenObject | SealedObject]:
        """Back to the position: what was not committed is given to the caller, who lets go of its bytes."""
        dropped: list[OpenObject | SealedObject] = list(self.sealed)
        self.sealed.clear()
        if self.open is not None:
            dropped.append(self.open)
            self.open = None
        if self.position is not None:
            self.read, self.next_start, self.leader_epoch = self.position, self.position_start, self.position_epoch
        self.moved_since = None
        return dropped
