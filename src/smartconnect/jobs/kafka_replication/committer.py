"""One transaction after the other: data, then the positions that it has reached, then the end that makes both count
(kafka-replication.md §6.4).

    gate open ── admit lanes as they bring something ── … ── due ── gate shut ── all acked ── positions ── finish ── gate open

Fetching and deciding go on meanwhile; what they bring waits in the outbox. Where a partition is stuck, so that nobody can know what the
transaction holds of it, the transaction is aborted: every partition goes on from what is committed, the stuck ones later. There are no
empty transactions: a position that only moved over skipped records is committed with the next data, or when nothing else has moved for a
while. Without transactions the gate stays open and the positions are those of what is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from smartconnect.domain.errors import Fenced, RegistryUnreachable
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.left_open import LeftOpen
from smartconnect.jobs.kafka_replication.outbox import Outbox
from smartconnect.jobs.kafka_replication.pace import Pace
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.kafka_replication.position_writer import PositionWriter, admit_positions
from smartconnect.jobs.kafka_replication.troubles import LaneStuck
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.produce_channel import Outcome
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import REPLICATION_COMMIT

_MOST_BYTES = 64 << 20
_LIGHT_BYTES = 512 << 10
_LONGEST_SKIP_S = 30.0


@dataclass(frozen=True, slots=True)
class CommitterEvents:
    """Called in the event loop; must not block. `committed`: a position is; `not_admitted`: the target does not let the lane into a
    transaction, and everything of it still waits; `aborted`: nothing since the last commit is on the target, all lanes begin at sequence 0,
    and these were stuck (with what was heard last of each)."""

    committed: Callable[[Partition, StoredPosition], None]
    not_admitted: Callable[[Lane, KafkaCode], None]
    aborted: Callable[[Mapping[Lane, Outcome | None]], None]


class Committer:
    """One incarnation's; `run` is its task."""

    def __init__(
        self,
        inc: Incarnation,
        outbox: Outbox,
        left_open: LeftOpen,
        events: CommitterEvents,
    ) -> None:
        self._inc, self._outbox, self._left_open, self._events = inc, outbox, left_open, events
        self._clock, self._guard = inc.clock, inc.guard
        self._transactional = inc.guard.transactional_id is not None
        self._writer = PositionWriter(inc, outbox)
        self._pace = Pace(inc.spec.options, inc.clock.monotonic)
        self._touched: dict[Partition, None] = {}
        self._skipped_since: float | None = None
        spec = inc.spec
        self._skips_wait_s = min(_LONGEST_SKIP_S, spec.options.group_sync_interval_s) if spec.sync_offsets else _LONGEST_SKIP_S
        self._hurry = False
        self._ended = asyncio.Event()
        self.catching_up = False

    def moved(self, partition: Partition, records: int = 0) -> None:
        """The partition's `acked` is not its `position` any more: so many records more are on the target."""
        self._pace.counted(records)
        if not self._touched:
            self._outbox.nudge()
        self._touched[partition] = None
        if self._skipped_since is None:
            self._skipped_since = self._clock.monotonic()

    @property
    def settled(self) -> bool:
        """Everything that was read and may be committed is committed."""
        return self._outbox.quiet and not self._has_moved

    @property
    def _has_moved(self) -> bool:
        """Some position may be committed that is not."""
        return any(self._may_commit(partition) for partition in self._touched)

    async def ended(self) -> None:
        """Until another transaction has ended."""
        self._ended.clear()
        await self._ended.wait()

    def hurry(self) -> None:
        """Drain: no commit waits for company any more."""
        self._hurry = True
        self._outbox.nudge()

    async def run(self) -> None:
        while True:
            while not (self._has_work() or self._left_open.is_due):
                await self._outbox.changed(0.5 if self._touched else None)
            if self._left_open.is_due:
                await self._left_open.look()
                continue
            try:
                await self._commit()
            except LaneStuck:
                await self._abort()

    def _has_work(self) -> bool:
        return self._outbox.has_waiting or self._skips_are_due() or (not self._transactional and self._has_moved)

    async def _commit(self) -> None:
        outbox, pace = self._outbox, self._pace
        pace.begin(catching_up=self.catching_up)
        outbox.open_gate()
        await self._admit()
        while not self._is_due():
            await outbox.changed(pace.wait(quiet=self._may_end_early))
            await self._admit()
        if self._transactional:
            outbox.close_gate()
            await outbox.settled()
            self._inc.steps.note("acked")
        await self._finish()

    async def _abort(self) -> None:
        """Fetching goes on until the target has aborted; what came meanwhile bears the old stamp and is forgotten with the rest."""
        stuck = await self._outbox.stop()
        await self._guard.abort()
        self._outbox.begin_again()
        self._inc.position_lane.begin_anew()
        self._events.aborted(stuck)
        self._touched = {partition: None for partition in self._touched if not partition.is_stored}
        self._ended.set()

    def _is_due(self) -> bool:
        return self._outbox.nbytes >= _MOST_BYTES or self._pace.is_due(quiet=self._may_end_early)

    @property
    def _may_end_early(self) -> bool:
        """A transaction hides its data until its end; a trickle is never quiet, and nothing is lost by ending its transactions early.
        Without transactions nothing is hidden, and each end asks the registry."""
        outbox = self._outbox
        return self._hurry or (self._transactional and (outbox.quiet or outbox.nbytes < _LIGHT_BYTES))

    async def _admit(self) -> None:
        lanes = self._outbox.outsiders()
        if not self._guard.is_open:
            for lane, code in (await self._left_open.refused(lanes)).items():
                self._events.not_admitted(lane, code)
        lanes = [lane for lane in lanes if lane.clear]
        if lanes:
            first, began = not self._outbox.admitted, self._clock.monotonic()
            partitions = [lane.tp for lane in lanes]
            if first and self._transactional:
                refused = await admit_positions(self._inc, partitions)
            else:
                refused = await self._guard.admit(partitions)
            if first:
                self._pace.opened(self._clock.monotonic() - began)
            await self._inc.origin.announce(self._guard.stamp.producer_id)
            if first:
                self._inc.steps.note("produce.sent")
            self._outbox.admit([lane for lane in lanes if lane.tp not in refused])
            for lane in lanes:
                if lane.tp in refused:
                    self._events.not_admitted(lane, refused[lane.tp])
        await self._outbox.release()

    async def _finish(self) -> None:
        """Positions of what has moved, and the end."""
        moved = {partition: self._position_of(partition) for partition in self._touched if self._may_commit(partition)}
        outbox = self._outbox
        began = self._clock.monotonic()
        if moved:
            await self._write(moved)
        if outbox.admitted or moved or self._guard.is_open:
            ending = self._clock.monotonic()
            await self._guard.finish()
            self._pace.committed(ending, markers=len(outbox.admitted) + 1)
            PROCESS_METERS.observe(REPLICATION_COMMIT, self._clock.monotonic() - began, (self._inc.context.task.id,))
        outbox.begin_anew(stay_admitted=not self._transactional)
        for partition, stored in moved.items():
            if partition.acked == stored.next_source:
                self._touched.pop(partition, None)
            self._events.committed(partition, stored)
        self._skipped_since = self._clock.monotonic() if self._touched else None
        self._ended.set()

    def _may_commit(self, partition: Partition) -> bool:
        return partition.jump is None or not partition.jump.forgets_position

    async def _write(self, moved: dict[Partition, StoredPosition]) -> None:
        if not self._outbox.admitted and self._transactional:
            await admit_positions(self._inc)
        if not self._transactional and not await self._still_ours():
            raise Fenced("the registry names a newer owner of this unit")
        positions = {partition.tp: stored for partition, stored in moved.items()}
        chunks = {p.tp: changes for p in moved if p.map is not None and (changes := p.map.take_changes())}
        await self._writer.write(self._inc.positions.batch(positions, self._clock.now_ms(), chunks))

    async def _still_ours(self) -> bool:
        """Without transactions nobody else fences a sleeper; as long as the registry does not answer, positions wait."""
        pauses = self._inc.target.pauses(0.2, 5.0)
        while True:
            try:
                return await self._inc.context.ledger.still_ours()
            except RegistryUnreachable:
                await self._outbox.changed(pauses.next())

    def _position_of(self, partition: Partition) -> StoredPosition:
        link = partition.link
        partition.landed_before = partition.landed
        fresh = StoredPosition(
            owner_epoch=self._inc.context.epoch,
            source_topic_id=link.source_topic_id,
            next_source=partition.acked,
            source_leader_epoch=partition.acked_epoch,
            target_topic_id=link.target_topic_id,
            next_target=partition.target_next,
            committed_at=self._clock.now_ms(),
            start=partition.start_offset,
            gaps=partition.gaps_passed,
        )
        return fresh if partition.map is None else replace(fresh, runs=partition.map.newest())

    def _skips_are_due(self) -> bool:
        if self._skipped_since is None or not self._has_moved:
            return False
        return self._hurry or self._clock.monotonic() - self._skipped_since >= self._skips_wait_s
