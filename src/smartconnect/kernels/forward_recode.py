"""`recode` for either implementation: which batches become one, decompression, `rewrite`, compression, headers, and smaller pieces where
a batch comes out too large. The records themselves are only ever touched by `rewrite`.

Memory: one group of batches decompressed, its records written anew, and what has come out compressed."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import zstandard
from fastcrc import crc32

from smartconnect.kernels import encode
from smartconnect.kernels.batch import CRC_FROM, HEADER_BYTES, Batch, BytesLike, Codec, Kind
from smartconnect.kernels.codecs import Scratch
from smartconnect.kernels.errors import MalformedBatch
from smartconnect.kernels.forward import Part, Recoded, RecodedBatch, RecodePlan, Rewritten, Room
from smartconnect.kernels.forward_parts import parts
from smartconnect.kernels.plan import NO_LIMIT, START, Resume

COALESCE_BYTES: Final = 256 << 10
# What is decompressed for one new batch, unless a single batch has more: the target's broker and its readers unfold it whole.
_UNFOLDED_BYTES: Final = 1 << 20
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_CRC: Final = struct.Struct(">I")
_CRC_AT: Final = 17
_MAGIC: Final = 2
# After a piece came out too large, the next try aims a little below what would just fit.
_MARGIN: Final = 0.9
# Renumbering makes records of 30 bytes longer by so much at most, mostly; `rewrite` makes room where it is not enough.
_GROWTH: Final = 8
_HAS_RECORDS: Final = (Kind.DATA, Kind.LEGACY)


class Rewrite(Protocol):
    """`twin_rewrite.rewrite` or its compiled form."""

    def __call__(self, parts: Sequence[Part], plan: RecodePlan, room: Room, resume: Resume, out: bytearray, /) -> Rewritten: ...


def recode(rewrite: Rewrite, records: BytesLike, batches: Sequence[Batch], plan: RecodePlan, scratch: Scratch) -> Recoded:
    """See `twin_rewrite.recode`."""
    run = _Run(rewrite, plan)
    first = 0
    for codec, rows in _alike(batches, plan):
        if run.has_enough():
            break
        try:
            run.take(codec, records, rows, scratch)
        except MalformedBatch as error:
            index = first + error.section
            raise MalformedBatch(batches[index].start, error.reason, index) from None
        first += len(rows)
    return run.result


def _alike(batches: Sequence[Batch], plan: RecodePlan) -> Iterator[tuple[Codec, Sequence[Batch]]]:
    """Runs of batches that become one batch each, if it fits: of one codec, not much more than 256 KiB. Batches without records for a
    reader go along with any."""
    first, nbytes = 0, 0
    codec: Codec | None = None
    most = min(COALESCE_BYTES, plan.max_bytes)
    for index, row in enumerate(batches):
        if row.kind not in _HAS_RECORDS:
            continue
        own = row.codec if plan.codec is None else plan.codec
        if codec is not None and (own is not codec or nbytes + row.end - row.start > most):
            yield codec, batches[first:index]
            first, nbytes = index, 0
        codec = own
        nbytes += row.end - row.start
    if first < len(batches):
        yield Codec.NONE if codec is None else codec, batches[first:]


class _Run:
    """One call of `recode`."""

    def __init__(self, rewrite: Rewrite, plan: RecodePlan) -> None:
        self.result = Recoded(next_offset=plan.from_offset)
        self._rewrite = rewrite
        self._plan = plan
        self._zstd: zstandard.ZstdCompressor | None = None
        self._raw = bytearray()
        self._made_bytes = 0

    def has_enough(self) -> bool:
        return self._made_bytes >= self._plan.enough_bytes

    def take(self, codec: Codec, records: BytesLike, rows: Sequence[Batch], scratch: Scratch) -> None:
        """Turn batches into one, or as many as it takes."""
        unfolded = COALESCE_BYTES if codec is Codec.NONE else _UNFOLDED_BYTES
        done = 0
        for group in parts(records, rows, scratch, unfolded, append_time=self._plan.append_time_is_create_time):
            try:
                self._take_group(codec, group)
            except MalformedBatch as error:
                raise MalformedBatch(error.position, error.reason, done + error.section) from None
            if self.has_enough():
                break
            done += len(group)

    def _take_group(self, codec: Codec, group: Sequence[Part]) -> None:
        """As few batches as `max_bytes` allows."""
        resume = START
        most = max(1, self._plan.max_bytes - HEADER_BYTES) if codec is Codec.NONE else NO_LIMIT
        finished = False
        while not finished and not self.has_enough():
            made, data = self._piece(codec, group, resume, most)
            while data is not None and len(data) > self._plan.max_bytes and made.count > 1:
                most = max(1, int(made.nbytes * _MARGIN * self._plan.max_bytes / len(data)))
                made, data = self._piece(codec, group, resume, most, made.count - 1)
            self._accept(made, data)
            resume, finished = made.resume, made.finished

    def _piece(
        self, codec: Codec, group: Sequence[Part], resume: Resume, most: int, records: int = NO_LIMIT
    ) -> tuple[Rewritten, bytearray | None]:
        """The next batch of a group, None if no record was left to write."""
        out = self._room_for(group, resume, most) if codec is Codec.NONE else self._raw
        made = self._rewrite(group, self._plan, Room(records, most), resume, out)
        if not made.count:
            return made, None
        end = HEADER_BYTES + made.nbytes
        if codec is Codec.NONE:
            del out[end:]
        else:
            with memoryview(out) as view:
                section = self._compress(codec, view[HEADER_BYTES:end])
            out = bytearray(HEADER_BYTES)
            out += section
        _put_header(out, codec, made)
        return made, out

    def _room_for(self, group: Sequence[Part], resume: Resume, most: int) -> bytearray:
        """A buffer that the rest of a group mostly fits into as it is: growing one costs more than writing the records."""
        left = sum(len(part.data) for part in group[resume.section :])
        return bytearray(HEADER_BYTES + min(left + left // _GROWTH, most))

    def _compress(self, codec: Codec, section: memoryview) -> bytes | bytearray:
        """A fresh zstd context costs more than a small section: one for all."""
        with section:
            if codec is not Codec.ZSTD:
                return encode.compress(codec, section)
            self._zstd = self._zstd or zstandard.ZstdCompressor(level=encode.ZSTD_LEVEL, write_content_size=False)
            return self._zstd.compress(section)

    def _accept(self, made: Rewritten, data: bytearray | None) -> None:
        result = self.result
        if data is not None and len(data) > self._plan.max_bytes:
            result.oversized.append(made.stretches[0].source)
        elif data is not None:
            result.batches.append(RecodedBatch(data, made.count, made.stretches))
            self._made_bytes += len(data)
        result.next_offset = max(result.next_offset, made.next_offset)
        result.records_in += made.records_in
        result.looped += made.looped
        result.far += made.far
        result.skipped += made.skipped


def _put_header(batch: bytearray, codec: Codec, made: Rewritten) -> None:
    """Without a producer, which `stamp` adds."""
    length = len(batch) - 12
    producer = (-1, -1, -1)
    times = (made.base_timestamp, made.max_timestamp)
    _HEADER.pack_into(batch, 0, 0, length, -1, _MAGIC, 0, codec, made.count - 1, *times, *producer, made.count)
    with memoryview(batch) as view:
        _CRC.pack_into(batch, _CRC_AT, crc32.iscsi(view[CRC_FROM:]))
