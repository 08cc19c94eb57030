"""From the rows of `walk` to what `join` takes: sections, decompressed into one scratch buffer, as many at a time as it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from smartconnect.kernels import encode, errors, legacy
from smartconnect.kernels.batch import Batch, BytesLike, Codec, Kind
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.errors import REASONS, DecompressionBomb, MalformedBatch
from smartconnect.kernels.plan import Section

# A group ends when this much of the scratch buffer is used: decompressed bytes are joined while a cache still has them, and not too often
# is the interpreter lock asked for.
_GROUP_BYTES: Final = 1 << 20


def sections(
    records: BytesLike, batches: Sequence[Batch], scratch: Scratch, group_bytes: int = _GROUP_BYTES
) -> Iterator[list[Section]]:
    """Groups of sections, in order, one section for each batch; each group is valid until the next is asked for, and ends when this much
    has been decompressed for it.

    Control, aborted and empty batches become sections without data, so that joining moves the position over them. Legacy entries are
    re-made as a v2 section with base timestamp 0. Checksums are the caller's to verify before. MalformedBatch has the batch's start as
    `position` and its index as `section`; it and DecompressionBomb come after the group before them has been used, never instead of it."""
    view = memoryview(records)
    group: list[Section] = []
    own_bytes = done = 0
    scratch.reset()
    while done < len(batches):
        try:
            more = _unfolded(view, batches, done, scratch, group_bytes - own_bytes) or [_section(view, batches[done], scratch)]
        except (MalformedBatch, DecompressionBomb) as error:
            if group:
                yield group
            if isinstance(error, MalformedBatch):
                raise MalformedBatch(batches[done].start, error.reason, done) from None
            raise
        group += more
        own_bytes += sum(len(section.data) for section in more) if batches[done].codec else 0
        done += len(more)
        if own_bytes >= group_bytes:
            yield group
            scratch.reset()
            group, own_bytes = [], 0
    if group:
        yield group


def _unfolded(view: memoryview, batches: Sequence[Batch], first: int, scratch: Scratch, enough: int) -> list[Section]:
    """As many of the batches from `first` on as can be unfolded together."""
    if batches[first].codec is not Codec.LZ4:
        return []
    unfolded = scratch.unfold(view, batches, first, enough)
    return [
        Section(data, batch.count, batch.base_offset, batch.last_offset)
        for data, batch in zip(unfolded, batches[first : first + len(unfolded)], strict=True)
    ]


def _section(view: memoryview, batch: Batch, scratch: Scratch) -> Section:
    if batch.kind is Kind.DATA:
        data = view[batch.records_start : batch.end]
        if batch.codec:
            data = scratch.decompress(batch.codec, data)
        return Section(data, batch.count, batch.base_offset, batch.last_offset)
    if batch.kind is Kind.LEGACY:
        return _from_legacy(view[batch.start : batch.end], batch, scratch.limit)
    return Section(b"", 0, batch.base_offset, batch.last_offset)


def _from_legacy(entry: memoryview, batch: Batch, limit: int) -> Section:
    found = [encode.Record(record.offset, record.value, record.key, record.timestamp) for record in legacy.records(entry, limit)]
    offsets = [record.offset for record in found]
    if offsets != sorted(set(offsets)) or offsets[0] < 0 or offsets[-1] != batch.last_offset:
        raise MalformedBatch(batch.start, REASONS[errors.BAD_OFFSETS])
    section = encode.records_section(found, offsets[0], 0)
    return Section(section, len(found), offsets[0], offsets[-1])
