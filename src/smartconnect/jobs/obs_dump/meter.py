"""What a dump unit tells of itself: phase, lag, counters, partitions (api.md §7). Cheap and without I/O: it reads what the partitions
know; the rows of the partitions are made only when somebody wants to store them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.progress import Level, PartitionProgress, PartitionState, Progress
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.metering import CopyPace, HeldBack, LazyRows, blocked_reason, measure_budget, standing
from smartconnect.jobs.obs_dump.assembler import Assembler
from smartconnect.jobs.obs_dump.deadlines import interval_of
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.roster import Roster
from smartconnect.jobs.obs_dump.untold import Untold
from smartconnect.kafka.codes import RETRIABLE
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import DUMP_OLDEST, DUMP_PENDING

if TYPE_CHECKING:
    from smartconnect.jobs.obs_dump.incarnation import Incarnation

STARTING, INITIAL_COPY, DUMPING = "starting", "initial_copy", "dumping"
_REST_S: Final = 10.0
"""Thousands of quiet partitions are looked at so often."""
_REACHED: Final[Callable[[Partition], int | None]] = attrgetter("reached")


class Meter:
    """One incarnation's. `begin` when the positions are known, `started` when fetching may begin, `tick` in every round of the loop, `stir`
    when something has come or gone."""

    def __init__(self, context: UnitContext, spec: ObsDumpSpec, clock: Clock) -> None:
        self._context, self._spec, self._clock = context, spec, clock
        self._phase, self._phase_started = STARTING, clock.now_ms()
        self._base: Counter[str] = Counter()
        self._inc: Incarnation | None = None
        self._roster: Roster | None = None
        self._assembler: Assembler | None = None
        self._pace = CopyPace()
        self._held = HeldBack(context.ledger.event)
        self._delimiters_told = False
        self._rests_until = 0.0
        self.unseen = Untold(spec.options.refresh_interval_s, self.see_ends)
        """Whose ends are not known; it is run as long as the incarnation."""

    async def begin(self, roster: Roster, assembler: Assembler, inc: Incarnation) -> None:
        """Continue the counters of earlier owners; see where the initial copy of new partitions ends."""
        self._base = Counter(await self._context.ledger.counters())
        self._roster, self._assembler, self._inc = roster, assembler, inc

    def taken_up(self, partitions: Iterable[Partition]) -> None:
        """Where the source ends is to be seen for these: without it their lag is not known before their first record, and those that begin
        their run have no end of their initial copy."""
        self.unseen.add(partitions)

    async def see_ends(self) -> None:
        """Where the source ends now, of partitions that were taken up and whose leaders tell."""
        assert self._inc is not None
        asked = {partition.tp: partition for partition in self.unseen.partitions}
        found = await list_offsets(self._inc.cluster, dict.fromkeys(asked, LATEST), READ_COMMITTED, patient=False) if asked else {}
        for tp, listed in found.items():
            partition = asked[tp]
            if listed.error in RETRIABLE and partition.selected:
                continue
            self.unseen.partitions.discard(partition)
            if listed.error is None:
                partition.ends.saw(listed.offset, partition.position, self._clock.now_ms())
                if partition.initial_end is None and partition.position in (None, partition.start_offset):
                    partition.initial_end = listed.offset
        self.stir()

    def started(self) -> None:
        self._enter(INITIAL_COPY)
        self.tick()

    def stir(self) -> None:
        """What is known of the partitions may not hold any more."""
        self._rests_until = 0.0

    def tick(self) -> None:
        """Keep up with the partitions: at most once a second, whatever happens; rarely while nothing happens and nothing waits."""
        now = self._clock.monotonic()
        if now < self._rests_until or not self._pace.is_due(now):
            return
        assert self._roster is not None
        partitions = self._roster.partitions.values()
        done = total = 0
        waiting = False
        for partition in partitions:
            partition.ends.durable(partition.position)
            self._held.look(partition.tp, partition.held_back, now)
            waiting = waiting or bool(partition.held_back or partition.ends.lag(partition.position)) or not partition.settled
            if partition.initial_end is not None and partition.start_offset is not None and partition.selected:
                length = max(0, partition.initial_end - partition.start_offset)
                total += length
                done += min(length, max(0, (partition.position or 0) - partition.start_offset))
        self._pace.saw(now, done, total)
        if self._phase == INITIAL_COPY and self._pace.is_done and not self.unseen.partitions:
            self._enter(DUMPING)
        self._measure(partitions, now)
        self._tell_delimiters()
        if self._phase == DUMPING and not waiting:
            self._rests_until = now + _REST_S

    def progress(self) -> Progress:
        counters, inc = self._base.copy(), self._inc
        if self._assembler is not None and inc is not None:
            tally = self._assembler.tally
            counters += Counter(
                records_in=tally.records,
                bytes_in=tally.bytes_in,
                null_values=tally.null_values,
                delimiters_in_data=tally.delimiters_in_data,
                retries=inc.calls.retries,
            )
            counters.update(inc.counters)
        roster = self._roster
        partitions = [*roster.partitions.values(), *roster.hidden.rows] if roster is not None and roster.looked else []
        now, started, copying = self._clock.now_ms(), self._phase != STARTING, self._phase == INITIAL_COPY
        found = standing(partitions, _REACHED, now)
        hidden = roster.hidden.reasons.values() if roster is not None else ()
        troubled = inc.calls.reason() if inc is not None else None
        return Progress(
            phase=self._phase,
            phase_started_at=self._phase_started,
            percent=self._pace.percent if copying else None,
            eta_ms=self._pace.eta_ms if copying else None,
            counters=dict(counters),
            lag_records=found.lag_records if started else None,
            lag_ms=found.lag_ms if started else None,
            partitions=LazyRows(partitions, partial(_row, self._spec, now)),
            partitions_version=found.version,
            blocked_version=found.blocked_version,
            reason=troubled or blocked_reason([*found.blocked, *(reason for reason in hidden if reason not in found.blocked)]),
        )

    def _enter(self, phase: str) -> None:
        self._phase, self._phase_started = phase, self._clock.now_ms()

    def _measure(self, partitions: Collection[Partition], now: float) -> None:
        """What `/metrics` shows beside the counters and the lag of progress."""
        assert self._inc is not None
        task, labels = self._context.task, (self._context.task.id, str(self._context.unit))
        pending = sum(not pending.done for partition in partitions for pending in partition.pending)
        opened = (now - p.open.deadline + interval_of(self._spec, p.tp) for p in partitions if p.open is not None)
        PROCESS_METERS.set(DUMP_PENDING, pending, labels)
        PROCESS_METERS.set(DUMP_OLDEST, max(opened, default=0.0), labels)
        measure_budget(task.kind, self._inc.resources.budget)

    def _tell_delimiters(self) -> None:
        assert self._assembler is not None
        if not self._delimiters_told and self._assembler.tally.delimiters_in_data and self._spec.record_delimiter:
            self._delimiters_told = True
            self._context.ledger.event(
                Level.WARNING,
                "delimiter_in_data",
                "records contain the record delimiter; it is not escaped, readers that split by it see more records",
            )


def _row(spec: ObsDumpSpec, now_ms: int, partition: Partition) -> PartitionProgress:
    topic = partition.tp.topic
    where = "/".join(filter(None, (spec.bucket, spec.path, topic)))
    return PartitionProgress(
        topic=topic,
        partition=partition.tp.partition,
        target=where,
        state=_state(partition),
        start_offset=partition.start_offset,
        position=partition.reached,
        end_offset=partition.ends.end,
        lag_records=partition.ends.lag(partition.reached),
        lag_ms=partition.ends.lag_ms(partition.position, now_ms),
        held_by_open_transaction=partition.held_back or None,
        gaps=partition.gaps,
        topic_id=str(partition.topic_before or partition.topic_id or ""),
        initial_end=partition.initial_end,
        expected=partition.expected,
        marked=True,
        reason=partition.blocked,
    )


def _state(partition: Partition) -> PartitionState:
    if partition.blocked is not None:
        return PartitionState.BLOCKED
    if not partition.selected:
        return PartitionState.UNASSIGNED
    return PartitionState.MOVING if partition.ends.lag(partition.position) else PartitionState.IDLE
