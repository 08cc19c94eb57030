"""Decompression of a batch's records section, in bounded memory whatever the bytes claim.

A `Scratch` reuses one buffer for batch after batch (fresh memory for each costs as much as the decompression itself); `decompress` is for
single calls. Both let go of the interpreter lock in the libraries. The results are views: of the section itself for codec none, of the
scratch buffer until `reset` else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Protocol, cast

import cramjam
import zstandard
from isal import isal_zlib

from smartconnect.kernels import lz4, twin_unfold
from smartconnect.kernels.batch import Batch, BytesLike, Codec
from smartconnect.kernels.choice import IMPLEMENTATION
from smartconnect.kernels.errors import DecompressionBomb, MalformedBatch

if IMPLEMENTATION == "compiled":
    from smartconnect.kernels import _compiled

    unfold = _compiled.unfold
else:
    unfold = twin_unfold.unfold

DEFAULT_LIMIT: Final = 256 << 20
_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = 16
# A snappy element of 2 bytes gives at most 11 bytes, one of 3 bytes 64.
_SNAPPY_MAX_RATIO: Final = 32
_GZIP: Final = 31
# The library's stubs take the class for an instance.
_GZIP_ERROR: Final = cast("type[Exception]", isal_zlib.error)
_GZIP_WINDOW: Final = 64 << 10
_FIRST_CHUNK: Final = 256 << 10
_Room = Callable[[int], memoryview]


class Scratch:
    """One reusable buffer of at most `size` bytes: none before it is used, and as large as what was put there between two resets wanted.
    What does not fit into its rest gets memory of its own. For one thread at a time."""

    def __init__(self, size: int = 4 << 20, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self._size = size
        self._buffer = _fresh(0)
        self._used = self._wanted = 0

    @property
    def used(self) -> int:
        """Bytes of the buffer that results since the last `reset` occupy."""
        return self._used

    def reset(self) -> None:
        """Use the buffer anew: results given so far become invalid."""
        if len(self._buffer) < min(self._wanted, self._size):
            self._buffer = _fresh(min(self._size, 1 << (self._wanted - 1).bit_length()))
        self._used = self._wanted = 0

    def decompress(self, codec: Codec, section: BytesLike) -> memoryview:
        """As the function `decompress`; valid until `reset`."""
        begin, most = self._used, 0

        def room(nbytes: int) -> memoryview:
            nonlocal most
            most = max(most, nbytes)
            place = self._buffer[begin : begin + nbytes]
            return place if len(place) == nbytes else _fresh(nbytes)

        result = decompress(codec, section, self.limit, room)
        self._wanted += most
        if result.obj is self._buffer.obj:
            self._used = begin + len(result)
        return result

    def unfold(self, records: BytesLike, batches: Sequence[Batch], first: int, enough: int) -> list[memoryview]:
        """The sections of the lz4 batches from `batches[first]` on, up to `enough` bytes, in one stay without the interpreter lock: none
        where that batch is not lz4, not plain, not whole or does not fit. Valid until `reset`."""
        begin = self._used
        ends = [begin + end for end in unfold(records, batches, first, self._buffer[begin:], self.limit, enough)]
        self._used = ends[-1] if ends else begin
        self._wanted += self._used - begin
        return [self._buffer[start:end] for start, end in pairwise([begin, *ends])]


def _fresh(nbytes: int) -> memoryview:
    return memoryview(bytearray(nbytes))


def decompress(codec: Codec, section: BytesLike, limit: int = DEFAULT_LIMIT, room: _Room = _fresh) -> memoryview:
    """The records section behind a codec: for none the section itself; gzip (RFC 1952, several members), snappy (xerial framing or raw),
    lz4 and zstd (frames, with or without content size). `room(n)` provides n bytes to write to.

    Raises DecompressionBomb above `limit` bytes (and never holds more than twice that); MalformedBatch where the data is damaged or
    cut. A zstd frame without content size that is cut at a block's end looks whole: `join` then finds too few records."""
    view = memoryview(section).cast("B")
    if codec == Codec.NONE:
        return view
    if codec == Codec.LZ4:
        return lz4.unfold(view, limit, room)
    if codec == Codec.SNAPPY:
        return _snappy(view, limit, room)
    if codec == Codec.GZIP:
        return _gzip(view, limit)
    if codec == Codec.ZSTD:
        return _zstd(view, limit, room)
    raise MalformedBatch(0, f"codec {codec} is unknown")


def _snappy(view: memoryview, limit: int, room: _Room) -> memoryview:
    chunks = _xerial_chunks(view) if bytes(view[:8]) == _XERIAL_MAGIC else [view]
    sizes: list[int] = []
    try:
        for chunk in chunks:
            size = int(cramjam.snappy.decompress_raw_len(chunk))
            if size > len(chunk) * _SNAPPY_MAX_RATIO:
                raise MalformedBatch(0, "the snappy data claims an impossible length")
            sizes.append(size)
        if sum(sizes) > limit:
            raise DecompressionBomb(limit)
        target = room(sum(sizes))
        filled = 0
        for chunk, size in zip(chunks, sizes, strict=True):
            filled += int(cramjam.snappy.decompress_raw_into(chunk, target[filled : filled + size]))
    except cramjam.DecompressionError as error:
        raise MalformedBatch(0, f"the snappy data is damaged ({error})") from None
    return target[:filled]


def _xerial_chunks(view: memoryview) -> list[memoryview]:
    """Length-prefixed raw snappy blocks behind a 16-byte header."""
    chunks: list[memoryview] = []
    at = _XERIAL_HEADER
    if len(view) < at:
        raise MalformedBatch(0, "the snappy header is cut off")
    while at < len(view):
        size = int.from_bytes(view[at : at + 4], "big", signed=True)
        end = at + 4 + size
        if size < 1 or end > len(view):
            raise MalformedBatch(at, "a snappy block leaves its section")
        chunks.append(view[at + 4 : end])
        at = end
    return chunks


def _gzip(view: memoryview, limit: int) -> memoryview:
    """Fed in small windows: what follows a member comes back as a copy, which would make many tiny members cost their number squared."""
    parts: list[bytes] = []
    left, at = limit, 0
    member = None
    try:
        while at < len(view):
            member = member or isal_zlib.decompressobj(wbits=_GZIP)
            window = view[at : at + _GZIP_WINDOW]
            part = member.decompress(window, left + 1)
            left -= len(part)
            if left < 0:
                raise DecompressionBomb(limit)
            parts.append(part)
            at += len(window) - len(member.unused_data)
            member = None if member.eof else member
    except _GZIP_ERROR as error:
        raise MalformedBatch(at, f"the gzip data is damaged ({error})") from None
    if member is not None or not parts:
        raise MalformedBatch(at, "the gzip data is cut off")
    return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


class _Reader(Protocol):
    def readinto(self, target: memoryview, /) -> int: ...


def _zstd(view: memoryview, limit: int, room: _Room) -> memoryview:
    try:
        claimed = zstandard.frame_content_size(view)
        if claimed > limit:
            raise DecompressionBomb(limit)
        reader = zstandard.ZstdDecompressor().stream_reader(view, read_across_frames=True)
        first = room(claimed if claimed > 0 else min(limit, _FIRST_CHUNK))
        filled = _fill(reader, first)
        if filled < claimed:
            raise MalformedBatch(0, "the zstd data is cut off")
        if filled < len(first):
            return first[:filled]
        return _read_on(reader, first, limit)
    except zstandard.ZstdError as error:
        raise MalformedBatch(0, f"the zstd data is damaged ({error})") from None


def _fill(reader: _Reader, target: memoryview) -> int:
    """Read until `target` is full or the stream ends."""
    filled = 0
    while filled < len(target):
        step = reader.readinto(target[filled:])
        if step == 0:
            break
        filled += step
    return filled


def _read_on(reader: _Reader, first: memoryview, limit: int) -> memoryview:
    """`first` and all that follows it: mostly nothing, so ask for one byte before taking memory, then for pieces that double."""
    pieces = [first]
    total = len(first)
    while True:
        size = 1 if len(pieces) == 1 else min(max(total, _FIRST_CHUNK), limit + 1 - total)
        piece = memoryview(bytearray(size))
        filled = _fill(reader, piece)
        total += filled
        if total > limit:
            raise DecompressionBomb(limit)
        if filled:
            pieces.append(piece[:filled])
        if filled < size:
            return first if len(pieces) == 1 else memoryview(b"".join(pieces))
