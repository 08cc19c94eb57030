"""LZ4 frames as Kafka clients write them: unfolded piece by piece into one buffer, and made.

Independent blocks (all that Kafka's own client, librdkafka and our encoder write) go straight to the block decoder, which saves the frame
decoder's copies: 3.0 instead of 2.1 GB/s. The frame's xxHash checksums are not looked at: the batch's CRC covers the same bytes, and
magic 0 stores a wrong header checksum on purpose (KIP-57). Linked blocks go through the library's frame decoder, which does look at
them, with the header checksum put right first.

Frames are made of independent blocks of 64 KiB without checksums, as Kafka's own client makes them: brokers refuse linked blocks with
UNKNOWN_SERVER_ERROR. The library's frame encoder copies twice and takes nothing but `bytes`.

Format: LZ4 frame format 1.6. Called by `codecs` and `encode`. Memory: the buffer asked for, nothing for each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

import cramjam

from smartconnect.kernels.errors import DecompressionBomb, MalformedBatch

_MAGIC: Final = b"\x04\x22\x4d\x18"
_BLOCK_SIZES: Final = {4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22}
_STORED: Final = 0x80000000
# Version 1, independent blocks, no checksums; blocks of at most 64 KiB.
_DESCRIPTOR: Final = b"\x60\x40"
_BLOCK: Final = 1 << 16
# The format's densest block: each further byte of a match length stands for 255 bytes.
_MAX_RATIO: Final = 255


class _Form(Enum):
    BLOCK = auto()
    STORED_BLOCK = auto()
    LINKED_FRAME = auto()


class _Piece(NamedTuple):
    """What can be unfolded by itself, and how many bytes it can give at most."""

    form: _Form
    start: int
    end: int
    bound: int


class _Header(NamedTuple):
    end: int
    linked: bool
    block_checksums: bool
    content_checksum: bool
    block_size: int


def unfold(section: memoryview, limit: int, room: Callable[[int], memoryview]) -> memoryview:
    """The content of one or more frames. `room(n)` gives a buffer of n bytes; it is asked once, for what the blocks' headers allow, but
    never more than `limit`. Raises MalformedBatch and DecompressionBomb."""
    size = min(limit, sum(piece.bound for piece in _pieces(section)))
    target = room(size)
    filled = 0
    for piece in _pieces(section):
        space = target[filled : filled + piece.bound]
        try:
            filled += _unfold_piece(section, piece, space)
        except (cramjam.DecompressionError, ValueError) as error:
            if len(space) < piece.bound:
                raise DecompressionBomb(limit) from None
            raise MalformedBatch(piece.start, f"the lz4 data is damaged ({error})") from None
    return target[:filled]


def fold(section: memoryview) -> bytearray:
    """One frame with all of the section."""
    starts = range(0, len(section), _BLOCK)
    block_bound = int(cramjam.lz4.compress_block_bound(section[:_BLOCK])) if starts else 0
    out = bytearray(len(_MAGIC) + 3 + len(starts) * (4 + block_bound) + 4)
    head = _MAGIC + _DESCRIPTOR + bytes([_xxh32_short(_DESCRIPTOR) >> 8 & 0xFF])
    out[: len(head)] = head
    at = len(head)
    with memoryview(out) as target:
        for start in starts:
            block = section[start : start + _BLOCK]
            size = int(cramjam.lz4.compress_block_into(block, target[at + 4 :], store_size=False))
            stored = size >= len(block)
            if stored:
                size = len(block)
                target[at + 4 : at + 4 + size] = block
            target[at : at + 4] = (size | (_STORED if stored else 0)).to_bytes(4, "little")
            at += 4 + size
    del out[at + 4 :]
    out[at:] = bytes(4)
    return out


def _unfold_piece(section: memoryview, piece: _Piece, space: memoryview) -> int:
    data = section[piece.start : piece.end]
    if piece.form is _Form.BLOCK:
        return int(cramjam.lz4.decompress_block_into(data, space, output_len=len(space)))
    if piece.form is _Form.STORED_BLOCK:
        space[:] = data
        return len(data)
    return int(cramjam.lz4.decompress_into(_with_right_checksum(data), space))


def _pieces(section: memoryview) -> Iterator[_Piece]:
    at = 0
    while at < len(section):
        start, header = at, _header(section, at)
        at, linked_bound = header.end, 0
        while True:
            word = _u32(section, at)
            at += 4
            if word == 0:
                break
            size = word & ~_STORED
            end = at + size
            if end > len(section):
                raise MalformedBatch(at, "an lz4 block leaves its frame")
            bound = size if word & _STORED else min(header.block_size, size * _MAX_RATIO)
            if header.linked:
                linked_bound += bound
            else:
                yield _Piece(_Form.STORED_BLOCK if word & _STORED else _Form.BLOCK, at, end, bound)
            at = end + 4 * header.block_checksums
        at += 4 * header.content_checksum
        if at > len(section):
            raise MalformedBatch(start, "an lz4 frame is cut off")
        if header.linked:
            yield _Piece(_Form.LINKED_FRAME, start, at, linked_bound)


def _header(section: memoryview, at: int) -> _Header:
    if bytes(section[at : at + 4]) != _MAGIC or len(section) - at < 7:
        raise MalformedBatch(at, "this is no lz4 frame")
    flags, block_size = section[at + 4], _BLOCK_SIZES.get(section[at + 5] >> 4 & 7)
    has_dictionary = flags & 0x01
    if flags >> 6 != 1 or block_size is None or has_dictionary:
        raise MalformedBatch(at, "an lz4 frame header is not one that Kafka uses")
    return _Header(
        end=at + 7 + (8 if flags & 0x08 else 0),
        linked=not flags & 0x20,
        block_checksums=bool(flags & 0x10),
        content_checksum=bool(flags & 0x04),
        block_size=block_size,
    )


def _u32(section: memoryview, at: int) -> int:
    if at + 4 > len(section):
        raise MalformedBatch(at, "an lz4 frame is cut off")
    return int.from_bytes(section[at : at + 4], "little")


def _with_right_checksum(frame: memoryview) -> memoryview | bytearray:
    """The frame, its header checksum corrected where a magic 0 client wrote it over the wrong bytes."""
    end = 6 + (8 if frame[4] & 0x08 else 0)
    right = _xxh32_short(bytes(frame[4:end])) >> 8 & 0xFF
    if frame[end] == right:
        return frame
    patched = bytearray(frame)
    patched[end] = right
    return patched


_PRIMES: Final = (2654435761, 2246822519, 3266489917, 668265263, 374761393)
_M32: Final = 0xFFFFFFFF


def _xxh32_short(data: bytes) -> int:
    """xxHash32, seed 0, of fewer than 16 bytes: a frame descriptor has 2 or 10."""
    p1, p2, p3, p4, p5 = _PRIMES
    value = (p5 + len(data)) & _M32
    words = len(data) & ~3
    for i in range(0, words, 4):
        value = (value + int.from_bytes(data[i : i + 4], "little") * p3) & _M32
        value = (((value << 17) | (value >> 15)) & _M32) * p4 & _M32
    for byte in data[words:]:
        value = (value + byte * p5) & _M32
        value = (((value << 11) | (value >> 21)) & _M32) * p1 & _M32
    value = (value ^ value >> 15) * p2 & _M32
    value = (value ^ value >> 13) * p3 & _M32
    return value ^ value >> 16
