"""The Python twin of the compiled `rewrite`, the only step of `recode` that sees records, and `recode` with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smartconnect.kernels import forward_recode
from smartconnect.kernels.batch import HEADER_BYTES, Batch, BytesLike
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.encode import zigzag
from smartconnect.kernels.forward import (
    HOPS_BEGIN,
    HOPS_END,
    MAX_HOPS,
    PROVENANCE,
    Part,
    Recoded,
    RecodePlan,
    Rewritten,
    Room,
    Stretch,
)
from smartconnect.kernels.plan import Resume
from smartconnect.kernels.twin_forward import Parsed, check_parts, parsed, wrapped
from smartconnect.kernels.twin_record import varint


def recode(records: BytesLike, batches: Sequence[Batch], plan: RecodePlan, scratch: Scratch) -> Recoded:
    """Consecutive rows of `walk` of one partition → new batches with their records, in order.

    Consecutive batches of one codec become one of about 256 KiB; one that exceeds `plan.max_bytes` becomes several. Key, value and headers
    stay byte for byte; offsets are renumbered; a provenance header that is not what we write is replaced. Control, aborted and empty
    batches move `next_offset` only. Checksums are the caller's to verify before.
    Raises MalformedBatch (`position`: the batch's start, `section`: its index) and DecompressionBomb; the batches before that one can be
    recoded by themselves."""
    return forward_recode.recode(rewrite, records, batches, plan, scratch)


def rewrite(parts: Sequence[Part], plan: RecodePlan, room: Room, resume: Resume, out: bytearray) -> Rewritten:
    """Write records of the parts, in order, as one records section from byte 61 of `out` on, which grows as needed, until they or `room`
    are exhausted. To go on after a stop, pass the same parts and the result's `resume`. Raises MalformedBatch (section, position of the
    record)."""
    check_parts(parts)
    section, position, done, _delta = resume
    fits = 0 <= section <= len(parts) and position >= 0 and done >= 0
    if fits and section == len(parts):
        fits = position == done == 0
    elif fits:
        fits = position <= memoryview(parts[section].data).nbytes and done <= max(parts[section].count, 0)
    if not fits:
        raise ValueError("this resume point does not belong to these parts")
    run = _Run(plan, room, next_offset=plan.from_offset)
    where = run.parts(parts, resume)
    end = HEADER_BYTES + len(run.written)
    if len(out) < end:
        out.extend(bytes(end - len(out)))
    out[HEADER_BYTES:end] = run.written
    return Rewritten(
        nbytes=len(run.written),
        count=run.count,
        base_timestamp=run.first_time,
        max_timestamp=run.max_time,
        stretches=tuple(Stretch(*row) for row in run.stretches),
        records_in=run.records_in,
        looped=run.looped,
        far=run.far,
        skipped=run.skipped,
        next_offset=run.next_offset,
        finished=where.section == len(parts),
        resume=where,
    )


@dataclass(slots=True)
class _Run:
    """One call of `rewrite`."""

    plan: RecodePlan
    room: Room
    next_offset: int
    written: bytearray = field(default_factory=bytearray)
    stretches: list[list[int]] = field(default_factory=list)
    count: int = 0
    first_time: int = 0
    max_time: int = 0
    records_in: int = 0
    looped: int = 0
    far: int = 0
    skipped: int = 0

    def parts(self, parts: Sequence[Part], resume: Resume) -> Resume:
        section, at, done, delta = resume
        while section < len(parts):
            part = parts[section]
            remaining = parsed(part, section, at, done, delta)
            while done < part.count:
                if self.count >= self.room.records:
                    return Resume(section, at, done, delta)
                record = next(remaining)
                if not self.take(record):
                    return Resume(section, at, done, delta)
                at, done, delta = record.end, done + 1, record.offset - part.base_offset
                self.next_offset = max(self.next_offset, record.offset + 1)
            for _nothing in remaining:
                raise AssertionError("a part has more records than it says")
            self.next_offset = max(self.next_offset, part.last_offset + 1)
            section, at, done, delta = section + 1, 0, 0, -1
        return Resume(section, at, done, delta)

    def take(self, record: Parsed) -> bool:
        """Write the record, or leave it out and count it. False if it does not fit."""
        hop = self.plan.hop
        if record.offset < self.plan.from_offset:
            return True
        if record.offset in self.plan.skip:
            self.skipped += 1
        elif hop is not None and record.has_been_at(hop.loop.hop_begin()):
            self.looped += 1
        elif hop is not None and len(record.hops()) >= MAX_HOPS:
            self.far += 1
        elif not self.put(record):
            return False
        self.records_in += 1
        return True

    def put(self, record: Parsed) -> bool:
        time = record.timestamp
        if self.plan.clamp is not None and time != -1:
            time = min(max(time, self.plan.clamp[0]), self.plan.clamp[1])
        first_time = self.first_time if self.count else time
        body = bytes([record.attributes]) + zigzag(wrapped(time - first_time)) + zigzag(self.count)
        body += record.body + self.headers(record)
        whole = zigzag(len(body)) + body
        if self.count and len(self.written) + len(whole) > self.room.nbytes:
            return False
        self.written += whole
        self.max_time = max(self.max_time, time) if self.count else time
        self.first_time = first_time
        self.note(record.offset)
        self.count += 1
        return True

    def note(self, source: int) -> None:
        """Add a record to the last stretch, or begin one."""
        if self.stretches and sum(self.stretches[-1][:2]) == source:
            self.stretches[-1][1] += 1
        else:
            self.stretches.append([source, 1, self.count])

    def headers(self, record: Parsed) -> bytes:
        """The headers as stored, with ours as the plan wants it."""
        hop = self.plan.hop
        if hop is None:
            return record.stored_headers
        here = hop.before_offset() + str(record.offset).encode() + hop.after_offset()
        value = HOPS_BEGIN + b",".join([*record.hops(), here]) + HOPS_END
        stored = memoryview(record.stored_headers)
        place = _value_of_ours(stored)
        if place is not None:
            return bytes(stored[: place[0]]) + zigzag(len(value)) + value + bytes(stored[place[1] :])
        _count, at = varint(stored, 0, len(stored))
        added = zigzag(len(PROVENANCE)) + PROVENANCE + zigzag(len(value)) + value
        return zigzag(len(record.headers) + 1) + bytes(stored[at:]) + added


def _value_of_ours(stored: memoryview) -> tuple[int, int] | None:
    """Where the value of the first provenance header stands, its length included."""
    end = len(stored)
    count, at = varint(stored, 0, end)
    for _ in range(count):
        size, at = varint(stored, at, end)
        name = bytes(stored[at : at + size])
        begin = at + size
        size, at = varint(stored, begin, end)
        at += max(size, 0)
        if name == PROVENANCE:
            return begin, at
    return None
