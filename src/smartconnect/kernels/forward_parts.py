"""From the rows of `walk` to what `rewrite` and `sum_up` take: parts, which know what their records' times refer to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from smartconnect.kernels.batch import Batch, BytesLike, Kind
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.forward import Part
from smartconnect.kernels.unpack import sections

LOG_APPEND_TIME: Final = 0x08
_BASE_TIMESTAMP_AT: Final = 27


def parts(
    records: BytesLike, batches: Sequence[Batch], scratch: Scratch, group_bytes: int, *, append_time: bool
) -> Iterator[list[Part]]:
    """Groups of parts as `unpack.sections` groups them, with the same errors. `append_time`: the records of LogAppendTime batches have
    the batch's time."""
    view = memoryview(records)
    done = 0
    for group in sections(records, batches, scratch, group_bytes):
        rows = batches[done : done + len(group)]
        done += len(group)
        yield [
            Part(*section, _base_timestamp(view, row), _append_time(row) if append_time else None)
            for section, row in zip(group, rows, strict=True)
        ]


def _base_timestamp(view: memoryview, row: Batch) -> int:
    """A delete horizon in its place (attribute bit 6, KIP-534) is one too: deltas refer to it."""
    if row.kind is not Kind.DATA:
        return 0
    at = row.start + _BASE_TIMESTAMP_AT
    return int.from_bytes(view[at : at + 8], "big", signed=True)


def _append_time(row: Batch) -> int | None:
    return row.max_timestamp if row.kind is Kind.DATA and row.attributes & LOG_APPEND_TIME else None
