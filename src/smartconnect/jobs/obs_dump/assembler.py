"""From fetched record batches to delimited bytes in open objects: the part of the dump that costs CPU.

`append` takes what one Fetch answer holds for one partition, checks each batch, decompresses group by group and lets the kernel join the
records straight into the open object's blocks. It ends objects where `flush_size` or `max_object_bytes` say so, in the middle of a batch
if need be, and stops when memory is used up; `Intake` says where it goes on. Runs in a worker thread; touches nothing but the partition,
its open object and the list of what it has sealed.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from smartconnect import kernels
from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.jobs.obs_dump.buffer import ObjectBuffer, PagedPool
from smartconnect.jobs.obs_dump.partition import OpenObject, Partition
from smartconnect.kafka.fetch_types import FetchedPartition
from smartconnect.kernels import Batch, JoinPlan, JoinResult, Kind, Limits, Resume, Section


class CutCause(enum.StrEnum):
    """Why an object ended; a label of the objects metric."""

    INTERVAL = "interval"
    COUNT = "count"
    SIZE = "size"
    MEMORY = "memory"
    DRAIN = "drain"
    GAP = "gap"


class Verdict(enum.Enum):
    """How taking in a partition's batches ended."""

    DONE = enum.auto()
    FULL = enum.auto()  # memory is used up: go on when some is free
    CUT = enum.auto()  # the open object has its full size: seal it, then go on
    DAMAGED = enum.auto()  # a batch breaks its checksum or its format


@dataclass(slots=True)
class Tally:
    """What was taken in, for the unit's counters."""

    records: int = 0
    bytes_in: int = 0
    null_values: int = 0
    delimiters_in_data: int = 0


@dataclass(slots=True)
class Intake:
    """One partition's batches on their way in; `groups` is where it goes on."""

    partition: Partition
    fetched: FetchedPartition
    groups: Iterator[list[Section]] | None = None
    batches: list[Batch] = field(default_factory=list)
    group: list[Section] = field(default_factory=list)
    resume: Resume = kernels.START
    cut: CutCause | None = None
    damage: str = ""


class Assembler:
    """The joining of one unit. `full` says whether memory is used up; `interval_of` gives a partition's time to the cut, in seconds."""

    def __init__(
        self,
        spec: ObsDumpSpec,
        pool: PagedPool,
        clock: Clock,
        *,
        full: Callable[[], bool],
        interval_of: Callable[[Partition], float],
    ) -> None:
        self._spec, self._pool, self._clock = spec, pool, clock
        self._full, self._interval_of = full, interval_of
        self._plan = JoinPlan(spec.record_delimiter, spec.kv_delimiter if spec.store_keys else None)
        self._scratch = kernels.Scratch()
        self.tally = Tally()

    def rest(self) -> None:
        """Nothing is being taken in, nor will be soon: keep no memory for it."""
        self._scratch = kernels.Scratch()

    def append(self, intake: Intake) -> Verdict:
        """Take in as much as may be. Called again with the same intake after FULL and CUT, until DONE or DAMAGED."""
        try:
            if intake.groups is None:
                self._begin(intake)
            return self._join_groups(intake)
        except kernels.MalformedBatch as error:
            intake.damage = str(error)
        except kernels.DecompressionBomb as error:
            intake.damage = str(error)
        return Verdict.DAMAGED

    def _begin(self, intake: Intake) -> None:
        fetched, partition = intake.fetched, intake.partition
        intake.batches = kernels.walk(fetched.records, partition.read, fetched.aborted)
        intake.groups = kernels.sections(fetched.records, self._sound(intake), self._scratch)
        self.tally.bytes_in += len(fetched.records)

    def _sound(self, intake: Intake) -> list[Batch]:
        """The batches up to the first with a wrong checksum, which is noted as damage behind them."""
        summed = [batch for batch in intake.batches if batch.kind in (Kind.DATA, Kind.LEGACY)]
        wrong = kernels.check(intake.fetched.records, summed)
        if wrong < 0:
            return intake.batches
        intake.damage = f"the batch at offset {summed[wrong].base_offset} breaks its checksum"
        return intake.batches[: intake.batches.index(summed[wrong])]

    def _join_groups(self, intake: Intake) -> Verdict:
        assert intake.groups is not None
        while True:
            if not intake.group:
                group = next(intake.groups, None)
                if group is None:
                    return Verdict.DAMAGED if intake.damage else Verdict.DONE
                intake.group, intake.resume = group, kernels.START
            if intake.resume == kernels.START and self._full():
                return Verdict.FULL
            if self._join(intake):
                intake.group = []
            if intake.cut is not None:
                return Verdict.CUT

    def _join(self, intake: Intake) -> bool:
        """Join what fits into the open object; True when the group is used up. A record is never split: an object may be larger than
        its size by the last one."""
        partition, spec = intake.partition, self._spec
        target = partition.open
        buffer = target.buffer if target is not None else ObjectBuffer(self._pool)
        records, size = (target.records, target.size) if target is not None else (0, 0)
        limits = Limits(partition.read, spec.flush_size - records, max(1, spec.options.max_object_bytes - size))
        result = kernels.join(intake.group, self._plan, buffer.writer, limits, intake.resume)
        buffer.settle()
        self._account(intake, target, buffer, result)
        intake.resume = result.resume
        target = partition.open
        if target is not None and target.records >= spec.flush_size:
            intake.cut = CutCause.COUNT
        elif target is not None and (not result.consumed_all or target.size >= spec.options.max_object_bytes):
            intake.cut = CutCause.SIZE
        return result.consumed_all

    def _account(self, intake: Intake, target: OpenObject | None, buffer: ObjectBuffer, result: JoinResult) -> None:
        partition = intake.partition
        if target is None and result.records_written:
            target = partition.open = self._open(partition, result.first_record_offset, buffer)
        partition.read = result.next_offset
        partition.leader_epoch = _epoch_at(intake.batches, result.next_offset - 1)
        if target is not None:
            target.records += result.records_written
            target.end, target.leader_epoch = partition.read, partition.leader_epoch
        partition.records += result.records_written
        partition.nbytes += result.bytes_written
        self.tally.records += result.records_written
        self.tally.null_values += result.null_values
        self.tally.delimiters_in_data += result.delimiters_in_data

    def _open(self, partition: Partition, first_offset: int, buffer: ObjectBuffer) -> OpenObject:
        deadline = self._clock.monotonic() + self._interval_of(partition)
        return OpenObject(
            partition.next_start, first_offset, deadline, self._clock.wall(), buffer, first_offset, partition.leader_epoch
        )


def _epoch_at(batches: list[Batch], offset: int) -> int:
    """The leader epoch under which `offset` was written; it goes with the position (KIP-320)."""
    index = bisect_left(batches, offset, key=lambda batch: batch.last_offset)
    return batches[min(index, len(batches) - 1)].leader_epoch
