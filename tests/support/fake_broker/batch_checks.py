"""What a broker checks in a batch before it asks whose it is, and what it changes. Pure.

Source: Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`; the rules in
`tests/support/broker_rules/batches.py` say what each refusal looks like."""

from __future__ import annotations

import struct
from typing import NamedTuple

from fastcrc import crc32

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.batch import BatchHeader, headers, parse_header
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kernels import Codec, KernelError, decompress, encode
from smartconnect.kernels.batch import CODEC_MASK, CONTROL, CRC_FROM, HEADER_BYTES
from tests.support.fake_broker.settings import TopicSettings

_APPEND_TIME = 0x08
_ATTRIBUTES_AT, _LAST_DELTA_AT, _MAX_TIME_AT = 21, 23, 35
_LZ4_FLAGS_AT, _LZ4_INDEPENDENT = 4, 0x20


class Refused(Exception):
    """Why a batch is not stored; `records` are indexes in it."""

    def __init__(self, code: KafkaCode, records: tuple[int, ...] = ()) -> None:
        super().__init__(code.name)
        self.code, self.records = code, records


class Checked(NamedTuple):
    """A batch as it may be appended, base offset and leader epoch aside."""

    data: bytes
    header: BatchHeader


class _Seen(NamedTuple):
    offset_delta: int
    time_delta: int
    has_key: bool


def single_batch(sent: bytes) -> bytes:
    """The one batch of a partition in a request, without what is cut off behind it."""
    try:
        found = list(headers(sent))
    except MalformedData as error:
        raise Refused(KafkaCode.INVALID_RECORD) from error
    if len(found) != 1:
        raise Refused(KafkaCode.INVALID_RECORD)
    return sent[: found[0][1].size]


def checked(batch: bytes, settings: TopicSettings, now_ms: int) -> Checked:
    """The batch with the topic's codec and kind of time; Refused where it may not be stored."""
    header = parse_header(batch)
    if header.base_offset != 0:
        raise Refused(KafkaCode.INVALID_RECORD)
    if len(batch) > settings.max_message_bytes:
        raise Refused(KafkaCode.MESSAGE_TOO_LARGE)
    if crc32.iscsi(batch[CRC_FROM:]) != header.crc:
        raise Refused(KafkaCode.CORRUPT_MESSAGE)
    _check_counts(header)
    section = _unfolded(batch, header)
    _check_records(_records(section, header.record_count), header, settings, now_ms)
    stored = _with_codec(batch, header, section, settings)
    if len(stored) > settings.max_message_bytes:
        raise Refused(KafkaCode.MESSAGE_TOO_LARGE)
    return _with_time(stored, settings, now_ms)


def _check_counts(header: BatchHeader) -> None:
    count = header.record_count
    numbered = header.producer_id < 0 or header.base_sequence >= 0
    if count <= 0 or count != header.last_offset_delta + 1 or header.attributes & CONTROL or not numbered:
        raise Refused(KafkaCode.INVALID_RECORD)


def _unfolded(batch: bytes, header: BatchHeader) -> bytes:
    body, codec = batch[HEADER_BYTES:], Codec(header.attributes & CODEC_MASK)
    if codec is Codec.LZ4 and not body[_LZ4_FLAGS_AT] & _LZ4_INDEPENDENT:
        raise Refused(KafkaCode.UNKNOWN_SERVER_ERROR)
    try:
        return bytes(decompress(codec, body))
    except KernelError as error:
        raise Refused(KafkaCode.UNKNOWN_SERVER_ERROR) from error


def _check_records(seen: list[_Seen], header: BatchHeader, settings: TopicSettings, now_ms: int) -> None:
    if header.attributes & CODEC_MASK and [record.offset_delta for record in seen] != list(range(len(seen))):
        raise Refused(KafkaCode.UNKNOWN_SERVER_ERROR)
    claims_append_time = bool(header.attributes & _APPEND_TIME)
    keyless, mistimed = [], []
    for index, record in enumerate(seen):
        time_ms = header.max_timestamp if claims_append_time else header.base_timestamp + record.time_delta
        if settings.needs_keys and not record.has_key:
            keyless.append(index)
        elif settings.append_time:
            mistimed += [index] if claims_append_time else []
        elif not now_ms - settings.before_max_ms <= time_ms <= now_ms + settings.after_max_ms:
            mistimed.append(index)
    if mistimed:
        raise Refused(KafkaCode.INVALID_TIMESTAMP, tuple(sorted([*keyless, *mistimed])))
    if keyless:
        raise Refused(KafkaCode.INVALID_RECORD, tuple(keyless))


def _with_codec(batch: bytes, header: BatchHeader, section: bytes, settings: TopicSettings) -> bytes:
    if settings.codec is None or settings.codec == header.attributes & CODEC_MASK:
        return batch
    out = bytearray(batch[:HEADER_BYTES]) + encode.compress(settings.codec, section)
    struct.pack_into(">h", out, _ATTRIBUTES_AT, header.attributes & ~CODEC_MASK | settings.codec)
    struct.pack_into(">i", out, 8, len(out) - 12)
    return _sealed(out)


def _with_time(batch: bytes, settings: TopicSettings, now_ms: int) -> Checked:
    header = parse_header(batch)
    attributes = header.attributes & ~_APPEND_TIME | (_APPEND_TIME if settings.append_time else 0)
    if settings.append_time or attributes != header.attributes:
        out = bytearray(batch)
        struct.pack_into(">h", out, _ATTRIBUTES_AT, attributes)
        if settings.append_time:
            struct.pack_into(">q", out, _MAX_TIME_AT, now_ms)
        batch = _sealed(out)
    return Checked(batch, parse_header(batch))


def _sealed(batch: bytearray) -> bytes:
    struct.pack_into(">I", batch, CRC_FROM - 4, crc32.iscsi(bytes(batch[CRC_FROM:])))
    return bytes(batch)


def _records(section: bytes, count: int) -> list[_Seen]:
    """The records of a section, each exactly as long as it says, and nothing behind them."""
    seen, at = [], 0
    try:
        for _ in range(count):
            length, at = _signed(section, at)
            if length < 0 or at + length > len(section):
                raise Refused(KafkaCode.INVALID_RECORD)
            seen.append(_record(section[at : at + length]))
            at += length
    except IndexError as cut_off:
        raise Refused(KafkaCode.INVALID_RECORD) from cut_off
    if at != len(section):
        raise Refused(KafkaCode.INVALID_RECORD)
    return seen


def _record(body: bytes) -> _Seen:
    time_delta, at = _signed(body, 1)
    offset_delta, at = _signed(body, at)
    key_length, at = _signed(body, at)
    value_length, at = _signed(body, at + max(key_length, 0))
    fields, at = _signed(body, at + max(value_length, 0))
    for _ in range(2 * fields):
        length, at = _signed(body, at)
        at += max(length, 0)
    if at != len(body):
        raise Refused(KafkaCode.INVALID_RECORD)
    return _Seen(offset_delta, time_delta, key_length >= 0)


def _signed(data: bytes, at: int) -> tuple[int, int]:
    """(zigzag varint, position behind it); IndexError where it is cut off."""
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
