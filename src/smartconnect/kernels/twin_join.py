"""The Python twin of the compiled `join`: decompressed sections of v2 batches → delimited bytes in a writer's blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smartconnect.kernels import errors
from smartconnect.kernels.blocks import BlockWriter
from smartconnect.kernels.errors import REASONS, MalformedBatch
from smartconnect.kernels.plan import START, JoinPlan, JoinResult, Limits, Resume, Section
from smartconnect.kernels.twin_record import BadRecord, Record, read_record

_NO_LIMITS = Limits()
_MAX_OFFSET = (1 << 63) - 1
_MAX_DELTA = (1 << 31) - 1


def join(
    sections: Sequence[Section],
    plan: JoinPlan,
    writer: BlockWriter,
    limits: Limits = _NO_LIMITS,
    resume: Resume = START,
) -> JoinResult:
    """Write the records of all sections, in order, to the end of `writer`, until they or the limits are exhausted.

    Null keys and values are written as empty ones. To go on after a stop, pass the same sections and the result's `resume`.
    Raises MalformedBatch (section, position of the record); the writer is then as it was before the call, and the sections before
    `error.section` can be joined by themselves."""
    _check(sections, resume)
    before, sum_before = writer.length, writer.crc32c
    run = _Run(plan, writer, limits, next_offset=limits.skip_before)
    try:
        where = run.sections(sections, resume)
    except BaseException:
        writer.settle(before, sum_before)
        raise
    return JoinResult(
        records_written=run.written,
        bytes_written=writer.length - before,
        next_offset=run.next_offset,
        first_record_offset=run.first,
        last_record_offset=run.last,
        null_values=run.nulls,
        delimiters_in_data=run.delimiters,
        consumed_all=where.section == len(sections),
        resume=where,
    )


@dataclass(slots=True)
class _Run:
    """One call of `join`."""

    plan: JoinPlan
    writer: BlockWriter
    limits: Limits
    next_offset: int
    written: int = 0
    nbytes: int = 0
    nulls: int = 0
    delimiters: int = 0
    first: int = -1
    last: int = -1
    counted: bytes | None = field(init=False)

    def __post_init__(self) -> None:
        self.counted = self.plan.delimiter if self.plan.count_delimiters and len(self.plan.delimiter) == 1 else None

    def sections(self, sections: Sequence[Section], resume: Resume) -> Resume:
        """Go through the sections from `resume` on; where it stopped, or the end of the list."""
        for index in range(resume.section, len(sections)):
            begin = resume if index == resume.section else Resume(index, 0, 0, -1)
            stop = self.section(sections[index], begin)
            if stop is not None:
                return stop
        return Resume(len(sections), 0, 0, -1)

    def section(self, section: Section, begin: Resume) -> Resume | None:
        """Write one section; where it stopped, or None at its end."""
        data, count, base, last = section
        view = memoryview(data).cast("B")
        at, done, delta = begin.position, begin.done, begin.delta
        self.next_offset = max(self.next_offset, base + delta + 1 if delta >= 0 else 0)
        while done < count:
            if self.written >= self.limits.max_records:
                return Resume(begin.section, at, done, delta)
            if at == len(view):
                raise MalformedBatch(at, REASONS[errors.TOO_FEW_RECORDS], begin.section)
            record = _checked(view, at, begin.section, delta, last - base)
            offset = base + record.delta
            if offset >= self.limits.skip_before and not self.put(view, record, offset):
                return Resume(begin.section, at, done, delta)
            self.next_offset = max(self.next_offset, offset + 1)
            at, done, delta = record.end, done + 1, record.delta
        if at != len(view):
            raise MalformedBatch(at, REASONS[errors.TOO_MANY_BYTES], begin.section)
        self.next_offset = max(self.next_offset, last + 1)
        return None

    def put(self, view: memoryview, record: Record, offset: int) -> bool:
        """Write one record, unless it would exceed the byte limit."""
        value = bytes(view[record.value : record.value_end]) if record.value >= 0 else b""
        key = bytes(view[record.key : record.key_end]) if record.key >= 0 and self.plan.kv_delimiter is not None else b""
        head = b"" if self.plan.kv_delimiter is None else key + self.plan.kv_delimiter
        line = head + value + self.plan.delimiter
        if self.written and self.nbytes + len(line) > self.limits.max_bytes:
            return False
        self.writer.write(line)
        self.written += 1
        self.nbytes += len(line)
        self.nulls += record.value < 0
        if self.counted is not None:
            self.delimiters += key.count(self.counted) + value.count(self.counted)
        self.first = offset if self.first < 0 else self.first
        self.last = offset
        return True


def _check(sections: Sequence[Section], resume: Resume) -> None:
    """Refuse what no caller of ours can mean, before anything is written."""
    for _data, _count, base, last in sections:
        if not 0 <= base <= last < _MAX_OFFSET or last - base > _MAX_DELTA:
            raise ValueError("these offsets do not belong to a batch")
    section, position, done, _delta = resume
    fits = 0 <= section <= len(sections) and position >= 0 and done >= 0
    if fits and section == len(sections):
        fits = position == done == 0
    elif fits:
        data, count, _base, _last = sections[section]
        fits = position <= memoryview(data).nbytes and done <= max(count, 0)
    if not fits:
        raise ValueError("this resume point does not belong to these sections")


def _checked(view: memoryview, at: int, section: int, delta: int, last_delta: int) -> Record:
    """The record at `at`, with an offset that ascends and lies in its batch."""
    try:
        record = read_record(view, at, len(view))
    except BadRecord as bad:
        raise MalformedBatch(at, REASONS[bad.args[0]], section) from None
    if record.delta <= delta:
        raise MalformedBatch(at, REASONS[errors.OFFSETS_NOT_ASCENDING], section)
    if record.delta > last_delta:
        raise MalformedBatch(at, REASONS[errors.OUTSIDE_BATCH], section)
    return record
