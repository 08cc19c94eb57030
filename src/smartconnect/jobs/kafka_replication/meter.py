"""What a replication unit tells of itself: phase, lag, counters, partitions (api.md §7). Cheap and without I/O: it reads what the
partitions know; the rows of the partitions are made only when somebody wants to store them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Final

from smartconnect.domain.clock import Clock
from smartconnect.domain.progress import PartitionProgress, PartitionState, Progress
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.intake import Intake
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.roster import Roster
from smartconnect.jobs.metering import CopyPace, HeldBack, LazyRows, Standing, blocked_reason, measure_budget, standing
from smartconnect.kafka.codes import RETRIABLE
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets

STARTING, INITIAL_COPY, REPLICATING = "starting", "initial_copy", "replicating"
_CATCHING_UP_MS: Final = 10_000
_REST_S: Final = 10.0
"""Thousands of quiet partitions are looked at so often."""
_REACHED: Final[Callable[[Partition], int]] = attrgetter("reached")


class Meter:
    """One incarnation's. `begin` when the positions are known, `started` when fetching may begin, `tick` in every round of the loop,
    `stir` when something has come or gone. `catching_up`: some partition lags by more than 10 s, rarer commits cost less then."""

    def __init__(self, context: UnitContext, clock: Clock) -> None:
        self._context, self._clock = context, clock
        self._phase, self._phase_started = STARTING, clock.now_ms()
        self._base: Counter[str] = Counter()
        self._inc: Incarnation | None = None
        self._roster: Roster | None = None
        self._intake: Intake | None = None
        self._pace = CopyPace()
        self._held = HeldBack(context.ledger.event)
        self._held_back: Callable[[Partition], int] = lambda partition: 0
        self.records_out = 0
        self.bytes_out = 0
        self.catching_up = False
        self._held_up_since: int | None = None
        self._unseen: list[Partition] = []
        self._rests_until = 0.0
        self._found: Standing | None = None

    async def begin(self, roster: Roster, intake: Intake, inc: Incarnation, held_back: Callable[[Partition], int]) -> None:
        """Continue the counters of earlier owners. `held_back`: records of a partition that an open transaction hides now."""
        self._base = Counter(await self._context.ledger.counters())
        self._roster, self._intake, self._inc, self._held_back = roster, intake, inc, held_back

    async def see_ends(self, partitions: Sequence[Partition]) -> None:
        """Where the source ends now, for partitions that are taken up: without it their lag is not known before their first record, and
        those that begin their run have no end of their initial copy. Whose leader is away is asked with the next look."""
        assert self._inc is not None
        taken_up = {partition.tp: partition for partition in (*self._unseen, *partitions) if partition.selected}
        self._unseen = []
        if not taken_up:
            return
        found = await list_offsets(self._inc.source, dict.fromkeys(taken_up, LATEST), READ_COMMITTED, patient=False)
        self.stir()
        for tp, listed in found.items():
            partition = taken_up[tp]
            if listed.error in RETRIABLE:
                self._unseen.append(partition)
            elif listed.error is None:
                partition.ends.saw(listed.offset, partition.acked, self._clock.now_ms())
                if partition.initial_end is None and partition.position is None:
                    partition.initial_end = listed.offset

    def started(self) -> None:
        self._enter(INITIAL_COPY)
        self.tick()

    def stir(self) -> None:
        """What is known of the partitions may not hold any more."""
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        """Whether nothing waits, as far as is known, and nothing has happened since that was found."""
        return self._clock.monotonic() < self._rests_until

    def tick(self) -> None:
        """Keep up with the partitions: at most once a second, whatever happens; rarely while nothing happens and nothing waits."""
        now = self._clock.monotonic()
        if self.rests or not self._pace.is_due(now):
            return
        assert self._roster is not None
        done = total = waiting = 0
        for partition in self._roster.partitions.values():
            partition.ends.durable(partition.reached)
            partition.held_back = self._held_back(partition)
            self._held.look(partition.tp, partition.held_back, now)
            waiting += partition.held_back + (partition.ends.lag(partition.reached) or 0)
            if partition.initial_end is not None and partition.start_offset is not None and partition.selected:
                length = max(0, partition.initial_end - partition.start_offset)
                total += length
                done += min(length, max(0, partition.reached - partition.start_offset))
        assert self._inc is not None
        measure_budget(self._context.task.kind, self._inc.resources.budget)
        self.catching_up = self._lags_far()
        self._pace.saw(now, done, total)
        if self._phase == INITIAL_COPY and self._pace.is_done and not self._unseen:
            self._enter(REPLICATING)
        if self._phase == REPLICATING and not waiting:
            self._rests_until, self._found = now + _REST_S, None

    def progress(self) -> Progress:
        counters = self._base.copy()
        if self._intake is not None and self._inc is not None:
            counters.update(
                records_in=self._intake.records,
                bytes_in=self._intake.nbytes,
                records_out=self.records_out,
                bytes_out=self.bytes_out,
            )
            counters.update(self._inc.counters)
        partitions = list(self._roster.partitions.values()) if self._roster is not None else []
        now, started, copying = self._clock.now_ms(), self._phase != STARTING, self._phase == INITIAL_COPY
        found = self._found = self._rested() or standing(partitions, _REACHED, now)
        blocked = dict.fromkeys(found.blocked)
        troubles = self._roster.troubles.values() if self._roster is not None else ()
        return Progress(
            phase=self._phase,
            phase_started_at=self._phase_started,
            percent=self._pace.percent if copying else None,
            eta_ms=self._pace.eta_ms if copying else None,
            counters=dict(counters),
            lag_records=found.lag_records if started else None,
            lag_ms=found.lag_ms if started else None,
            partitions=LazyRows(partitions, partial(_row, self._context.unit.prefix, now)),
            partitions_version=found.version,
            blocked_version=found.blocked_version,
            direction=self._context.unit.prefix,
            reason=self._held_up() or blocked_reason([*blocked, *(trouble for trouble in troubles if trouble not in blocked)]),
        )

    def _rested(self) -> Standing | None:
        """What was found since everything rests; not where a partition is blocked: it may be tried again at any time."""
        found = self._found
        return found if found is not None and self.rests and not found.blocked else None

    def _held_up(self) -> Reason | None:
        """The whole unit waits for the target."""
        trouble = self._inc.guard.trouble() if self._inc is not None else None
        if trouble is None:
            self._held_up_since = None
            return None
        if self._held_up_since is None:
            self._held_up_since = self._clock.now_ms()
        return Reason("target_unavailable", trouble, since=self._held_up_since)

    def _lags_far(self) -> bool:
        assert self._roster is not None
        now = self._clock.now_ms()
        return any(p.ends.lag_ms(p.reached, now) > _CATCHING_UP_MS for p in self._roster.partitions.values() if p.wants_fetch)

    def _enter(self, phase: str) -> None:
        self._phase, self._phase_started = phase, self._clock.now_ms()


def _row(direction: str, now_ms: int, partition: Partition) -> PartitionProgress:
    reached = partition.reached
    return PartitionProgress(
        topic=partition.tp.topic,
        partition=partition.tp.partition,
        target=partition.link.target.topic,
        state=_state(partition),
        start_offset=partition.start_offset,
        position=partition.position,
        end_offset=partition.ends.end,
        lag_records=partition.ends.lag(reached),
        lag_ms=partition.ends.lag_ms(reached, now_ms),
        direction=direction,
        target_position=None if partition.target_next < 0 else partition.target_next,
        held_by_open_transaction=partition.held_back or None,
        gaps=partition.gaps,
        topic_id=str(partition.link.source_topic_id or ""),
        initial_end=partition.initial_end,
        expected=partition.expected,
        gap=partition.gap,
        reason=partition.blocked,
    )


def _state(partition: Partition) -> PartitionState:
    if partition.blocked is not None:
        return PartitionState.BLOCKED
    if not partition.selected:
        return PartitionState.UNASSIGNED
    return PartitionState.MOVING if partition.ends.lag(partition.reached) else PartitionState.IDLE
