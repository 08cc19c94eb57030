"""The Python twin of the compiled `sum_up`, and `digest` with it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from fastcrc import crc32

from smartconnect.kernels import forward_digest
from smartconnect.kernels.batch import Batch, BytesLike
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.forward import MAX_HOPS, NO_RECORDS, PROVENANCE, DigestPlan, Part, RangeDigest
from smartconnect.kernels.twin_forward import Parsed, check_parts, parsed


def digest(
    records: BytesLike, batches: Sequence[Batch], plan: DigestPlan, scratch: Scratch, unfinished: RangeDigest = NO_RECORDS
) -> tuple[list[RangeDigest], RangeDigest]:
    """The ranges that these batches complete, and the one that they leave unfinished, which the next call takes: one continuous count over
    any number of calls, in order. Control, aborted and empty batches hold no records. Raises as `recode` does."""
    return forward_digest.digest(sum_up, records, batches, plan, scratch, unfinished)


def sum_up(parts: Sequence[Part], plan: DigestPlan, unfinished: RangeDigest) -> tuple[list[RangeDigest], RangeDigest]:
    """`digest` over parts. Raises MalformedBatch (section, position of the record)."""
    check_parts(parts)
    finished: list[RangeDigest] = []
    for section, part in enumerate(parts):
        for record in parsed(part, section):
            if not plan.from_offset <= record.offset < plan.until_offset or _left_out(record, plan):
                continue
            first = record.offset if unfinished.count == 0 else unfinished.first_offset
            crc = crc32.iscsi(_seen(record), unfinished.crc)
            unfinished = RangeDigest(first, record.offset, unfinished.count + 1, crc)
            if unfinished.count >= plan.every:
                finished.append(unfinished)
                unfinished = NO_RECORDS
    return finished, unfinished


def _left_out(record: Parsed, plan: DigestPlan) -> bool:
    if plan.loop is None:
        return False
    return record.has_been_at(plan.loop.hop_begin()) or len(record.hops()) >= MAX_HOPS


def _seen(record: Parsed) -> bytes:
    headers = [header for header in record.headers if header[0] != PROVENANCE]
    fields = [_field(record.key), _field(record.value), struct.pack(">i", len(headers))]
    fields += [_field(name) + _field(value) for name, value in headers]
    return struct.pack(">q", record.timestamp) + b"".join(fields)


def _field(data: bytes | None) -> bytes:
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
