"""What a dump unit tells of itself: phase, lag, counters, partitions (api.md §7). Cheap and without I/O: it reads what the partitions
know; the rows of the partitions are made only when somebody wants to store them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import PartitionBlocked
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.progress import Level, PartitionProgress, PartitionState, Progress
from smartconnect.domain.task import Reason
from smartconnect.engine.unit import UnitContext
from smartconnect.jobs.obs_dump.assembler import Assembler
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.roster import Roster
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets

if TYPE_CHECKING:
    from smartconnect.jobs.obs_dump.incarnation import Incarnation

STARTING, INITIAL_COPY, DUMPING = "starting", "initial_copy", "dumping"
_SAMPLES = 64
_ETA_WINDOW_S = 60.0
_HELD_EVENT_S = 60.0


class Meter:
    """One incarnation's. `begin` when the positions are known, `started` when fetching may begin, `tick` in every round of the loop."""

    def __init__(self, context: UnitContext, spec: ObsDumpSpec, clock: Clock) -> None:
        self._context, self._spec, self._clock = context, spec, clock
        self._phase, self._phase_started = STARTING, clock.now_ms()
        self._base: Counter[str] = Counter()
        self._inc: Incarnation | None = None
        self._roster: Roster | None = None
        self._assembler: Assembler | None = None
        self._percent: float | None = None
        self._pace: deque[tuple[float, int]] = deque()
        self._remaining = 0
        self._delimiters_told = False
        self._held_since: dict[Partition, float] = {}

    async def begin(self, roster: Roster, assembler: Assembler, inc: Incarnation) -> None:
        """Continue the counters of earlier owners; see where the initial copy of new partitions ends."""
        self._base = Counter(await self._context.ledger.counters())
        self._roster, self._assembler, self._inc = roster, assembler, inc

    async def see_ends(self, partitions: Sequence[Partition]) -> None:
        """Where the source ends now, for partitions that are taken up: without it their lag is not known before their first record, and
        those that begin their run have no end of their initial copy."""
        assert self._inc is not None
        taken_up = {partition.tp: partition for partition in partitions}
        if not taken_up:
            return
        found = await list_offsets(self._inc.cluster, dict.fromkeys(taken_up, LATEST), READ_COMMITTED)
        for tp, listed in found.items():
            partition = taken_up[tp]
            if listed.error is None:
                saw_end(partition, listed.offset, self._clock.now_ms())
                if partition.initial_end is None and partition.position is None:
                    partition.initial_end = listed.offset

    def started(self) -> None:
        self._enter(INITIAL_COPY)
        self.tick()

    def tick(self) -> None:
        """Keep up with the partitions: once per round of the loop, cheap when nothing changed."""
        now = self._clock.monotonic()
        if self._pace and now - self._pace[-1][0] < 1.0:
            return
        assert self._roster is not None
        partitions = self._roster.partitions.values()
        done = total = 0
        for partition in partitions:
            self._forget_durable(partition)
            self._watch_held(partition, now)
            if partition.initial_end is not None and partition.start_offset is not None and partition.selected:
                length = max(0, partition.initial_end - partition.start_offset)
                total += length
                done += min(length, max(0, (partition.position or 0) - partition.start_offset))
        self._pace.append((now, done))
        while now - self._pace[0][0] > _ETA_WINDOW_S:
            self._pace.popleft()
        self._remaining = total - done
        if self._phase == INITIAL_COPY:
            if self._remaining == 0:
                self._enter(DUMPING)
            else:
                self._percent = max(self._percent or 0.0, min(99.9, round(100 * done / total, 1)))
        self._tell_delimiters()

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
        partitions = list(self._roster.partitions.values()) if self._roster is not None else []
        selected = [partition for partition in partitions if partition.selected]
        lags = [_lag(partition) for partition in selected]
        now = self._clock.now_ms()
        return Progress(
            phase=self._phase,
            phase_started_at=self._phase_started,
            percent=self._percent if self._phase == INITIAL_COPY else None,
            eta_ms=self._eta_ms(),
            counters=dict(counters),
            lag_records=_sum_known(lags) if self._phase != STARTING else None,
            lag_ms=max((_lag_ms(partition, now) for partition in selected), default=0) if self._phase != STARTING else None,
            partitions=PartitionRows(partitions, self._spec, now),
            partitions_version=sum((partition.position or 0) + (partition.end_offset or 0) for partition in partitions),
            blocked_version=sum(hash(partition.tp) for partition in partitions if partition.blocked is not None),
            reason=(inc.calls.reason() if inc is not None else None) or _blocked(partitions),
        )

    def _enter(self, phase: str) -> None:
        self._phase, self._phase_started, self._percent = phase, self._clock.now_ms(), None

    def _eta_ms(self) -> int | None:
        if self._phase != INITIAL_COPY or len(self._pace) < 2:
            return None
        (before, done_before), (now, done) = self._pace[0], self._pace[-1]
        if done <= done_before:
            return None
        return int(self._remaining * (now - before) / (done - done_before) * 1000)

    def _forget_durable(self, partition: Partition) -> None:
        while partition.waiting and partition.position is not None and partition.waiting[0][0] <= partition.position:
            partition.waiting.popleft()

    def _watch_held(self, partition: Partition, now: float) -> None:
        """Records held back by an open transaction of somebody for a minute look like a hang: say so, once."""
        if not partition.held_back:
            self._held_since.pop(partition, None)
            return
        since = self._held_since.setdefault(partition, now)
        if now - since - _HELD_EVENT_S > 0:
            self._held_since[partition] = float("inf")
            self._context.ledger.event(
                Level.WARNING,
                "held_by_open_transaction",
                f"{partition.held_back} records of {partition.tp} are held back by an open transaction of a producer",
            )

    def _tell_delimiters(self) -> None:
        assert self._assembler is not None
        if not self._delimiters_told and self._assembler.tally.delimiters_in_data and self._spec.record_delimiter:
            self._delimiters_told = True
            self._context.ledger.event(
                Level.WARNING,
                "delimiter_in_data",
                "records contain the record delimiter; it is not escaped, readers that split by it see more records",
            )


def saw_end(partition: Partition, high_watermark: int, now_ms: int) -> None:
    """Remember since when there is something that is not durable yet; at most 64 samples, thinned from the middle."""
    partition.end_offset = high_watermark
    last = partition.waiting[-1][0] if partition.waiting else (partition.position or 0)
    if high_watermark > last:
        partition.waiting.append((high_watermark, now_ms))
        if len(partition.waiting) > _SAMPLES:
            kept = list(partition.waiting)
            partition.waiting.clear()
            partition.waiting.extend(kept[::2] if len(kept) % 2 else (*kept[::2], kept[-1]))


def _blocked(partitions: Sequence[Partition]) -> Reason | None:
    """What the unit as a whole says while some of its partitions stand still."""
    reasons = [partition.blocked for partition in partitions if partition.blocked is not None]
    if not reasons:
        return None
    first = min(reasons, key=lambda reason: reason.since)
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return Reason(PartitionBlocked.code, first.message + more, since=first.since)


def _lag(partition: Partition) -> int | None:
    if partition.end_offset is None or partition.position is None:
        return None
    return max(0, partition.end_offset - partition.position)


def _sum_known(lags: Sequence[int | None]) -> int | None:
    """The sum; None while one of them is not known: it is never shown as nothing."""
    known = [lag for lag in lags if lag is not None]
    return sum(known) if len(known) == len(lags) else None


def _lag_ms(partition: Partition, now_ms: int) -> int:
    for end, seen in partition.waiting:
        if end > (partition.position or 0):
            return max(0, now_ms - seen)
    return 0


class PartitionRows(Sequence[PartitionProgress]):
    """Rows of progress, made when they are read."""

    def __init__(self, partitions: list[Partition], spec: ObsDumpSpec, now_ms: int) -> None:
        self._partitions, self._spec, self._now_ms = partitions, spec, now_ms

    def __len__(self) -> int:
        return len(self._partitions)

    @overload
    def __getitem__(self, index: int) -> PartitionProgress: ...
    @overload
    def __getitem__(self, index: slice) -> list[PartitionProgress]: ...
    def __getitem__(self, index: int | slice) -> PartitionProgress | list[PartitionProgress]:
        if isinstance(index, slice):
            return [self._row(partition) for partition in self._partitions[index]]
        return self._row(self._partitions[index])

    def _row(self, partition: Partition) -> PartitionProgress:
        topic = partition.tp.topic
        where = "/".join(filter(None, (self._spec.bucket, self._spec.path, topic)))
        return PartitionProgress(
            topic=topic,
            partition=partition.tp.partition,
            target=where,
            state=_state(partition),
            start_offset=partition.start_offset,
            position=partition.position,
            end_offset=partition.end_offset,
            lag_records=_lag(partition),
            lag_ms=_lag_ms(partition, self._now_ms),
            held_by_open_transaction=partition.held_back or None,
            gaps=partition.gaps,
            topic_id=str(partition.topic_id or ""),
            initial_end=partition.initial_end,
            reason=partition.blocked,
        )


def _state(partition: Partition) -> PartitionState:
    if partition.blocked is not None:
        return PartitionState.BLOCKED
    if not partition.selected:
        return PartitionState.UNASSIGNED
    return PartitionState.MOVING if _lag(partition) else PartitionState.IDLE
