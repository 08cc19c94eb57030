"""The old message formats, magic 0 and 1 (KIP-31, KIP-32), which segments written before Kafka 0.11 still hold: one message after the
other, and compressed wrapper messages with a whole message set in their value. Read in plain Python: rare, and never written again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from smartconnect.kernels import errors
from smartconnect.kernels.batch import CODEC_MASK, BytesLike, Codec
from smartconnect.kernels.codecs import DEFAULT_LIMIT, decompress
from smartconnect.kernels.errors import REASONS, MalformedBatch

_HEAD: Final = struct.Struct(">qiIbb")
_LOG_APPEND_TIME: Final = 0x08


class LegacyRecord(NamedTuple):
    """`timestamp` in ms; −1 for magic 0, which has none."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class _Message(NamedTuple):
    offset: int
    magic: int
    attributes: int
    timestamp: int
    key: memoryview | None
    value: memoryview | None


def records(view: BytesLike, limit: int = DEFAULT_LIMIT) -> Iterator[LegacyRecord]:
    """The records of whole entries (a `LEGACY` row's `start:end`, or several), wrappers opened, with absolute offsets and the time that
    a consumer sees. Checksums are `verify_crc`'s matter. Raises MalformedBatch, DecompressionBomb."""
    for message in _messages(memoryview(view).cast("B")):
        if message.attributes & CODEC_MASK:
            yield from _unwrap(message, limit)
        else:
            yield _record(message)


def _record(message: _Message) -> LegacyRecord:
    key = None if message.key is None else bytes(message.key)
    value = None if message.value is None else bytes(message.value)
    return LegacyRecord(message.offset, message.timestamp, key, value)


def _unwrap(wrapper: _Message, limit: int) -> Iterator[LegacyRecord]:
    """Magic 1 numbers the inner messages from 0, and the wrapper has the offset of the last (KIP-31); magic 0 has absolute offsets."""
    codec = wrapper.attributes & CODEC_MASK
    if codec > Codec.LZ4:
        raise MalformedBatch(0, REASONS[errors.BAD_CODEC])
    if wrapper.value is None:
        raise MalformedBatch(0, "a compressed message has no value")
    inner = list(_messages(decompress(Codec(codec), wrapper.value, limit)))
    if not inner or any(message.attributes & CODEC_MASK or message.magic != wrapper.magic for message in inner):
        raise MalformedBatch(0, "a compressed message holds none, or compressed ones, or ones of another version")
    shift = wrapper.offset - inner[-1].offset if wrapper.magic else 0
    for message in inner:
        appended = wrapper.magic and wrapper.attributes & _LOG_APPEND_TIME
        timestamp = wrapper.timestamp if appended else message.timestamp
        yield _record(message._replace(offset=message.offset + shift, timestamp=timestamp))


def _messages(view: memoryview) -> Iterator[_Message]:
    at = 0
    while at < len(view):
        if len(view) - at < 26:
            raise MalformedBatch(at, REASONS[errors.LEAVES_SECTION])
        offset, length, _crc, magic, attributes = _HEAD.unpack_from(view, at)
        if magic not in (0, 1):
            raise MalformedBatch(at, REASONS[errors.BAD_MAGIC])
        end = at + 12 + length
        if length < (22 if magic else 14):
            raise MalformedBatch(at, REASONS[errors.BAD_LENGTH])
        if end > len(view):
            raise MalformedBatch(at, REASONS[errors.LEAVES_SECTION])
        inside = at + 18
        timestamp = -1
        if magic:
            timestamp = int.from_bytes(view[inside : inside + 8], "big", signed=True)
            inside += 8
        key, inside = _field(view, inside, end)
        value, inside = _field(view, inside, end)
        if inside != end:
            raise MalformedBatch(at, REASONS[errors.BYTES_LEFT])
        yield _Message(offset, magic, attributes, timestamp, key, value)
        at = end


def _field(view: memoryview, at: int, end: int) -> tuple[memoryview | None, int]:
    if end - at < 4:
        raise MalformedBatch(at, REASONS[errors.CUT_NUMBER])
    size = int.from_bytes(view[at : at + 4], "big", signed=True)
    at += 4
    if size == -1:
        return None, at
    if size < 0:
        raise MalformedBatch(at - 4, REASONS[errors.NEGATIVE_LENGTH])
    if size > end - at:
        raise MalformedBatch(at - 4, REASONS[errors.LEAVES_SECTION])
    return view[at : at + size], at + size
