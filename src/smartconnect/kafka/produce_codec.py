"""Produce requests and answers (v7 … v11) by hand: a request is a list of parts in which record batches stay where they are.

Pure; used by `produce_channel`. Source: Kafka's ProduceRequest/ProduceResponse schemas, KIP-467 (record errors, v8), KIP-482
(compact encoding, v9). A partition named twice in a request keeps only its last batch, without an error: callers never do."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.primitives import compact_string, plain_string, put_varint, skip_tags, take_text, take_varint
from smartconnect.kernels import put_batches, quiet_answers

FLEXIBLE_FROM = 9
RECORD_ERRORS_FROM = 8
ALL_IN_SYNC = -1

Buffer = bytes | bytearray | memoryview

_ACKS_TIMEOUT = struct.Struct(">hi")
_INT = struct.Struct(">i")
_INDEX_SIZE = struct.Struct(">ii")
_ANSWER = struct.Struct(">ihqqq")


class ProduceRefusal(NamedTuple):
    """Why a batch is not stored. `record_errors` are (index in the batch, message); often empty even with INVALID_RECORD."""

    error: KafkaCode
    record_errors: tuple[tuple[int, str], ...] = ()
    message: str = ""


class ProduceAnswer(NamedTuple):
    """What became of the batches of a request, by (topic, partition): the base offset of what the log holds, also of what it held already
    (DUPLICATE_SEQUENCE_NUMBER, −1 where the broker does not tell), or why it does not."""

    throttle_ms: int
    stored: dict[tuple[str, int], int]
    refused: dict[tuple[str, int], ProduceRefusal]


def encode_produce(
    version: int, transactional_id: str | None, timeout_ms: int, batches: Mapping[str, Sequence[tuple[int, Buffer]]]
) -> list[Buffer]:
    """The request's body as parts: topic → (partition, one whole batch)."""
    compact = version >= FLEXIBLE_FROM
    parts: list[Buffer] = []
    between = _nullable(transactional_id, compact) + _ACKS_TIMEOUT.pack(ALL_IN_SYNC, timeout_ms) + _count(len(batches), compact)
    for topic, partitions in batches.items():
        between += (compact_string(topic) if compact else plain_string(topic)) + _count(len(partitions), compact)
        if compact:
            between = put_batches(parts, between, partitions) + b"\0"
            continue
        for number, batch in partitions:
            parts += [between + _INDEX_SIZE.pack(number, len(batch)), batch]
            between = b""
    parts.append(between + b"\0" if compact else between)
    return parts


def _nullable(text: str | None, compact: bool) -> bytes:
    if text is None:
        return b"\0" if compact else b"\xff\xff"
    return compact_string(text) if compact else plain_string(text)


def _count(count: int, compact: bool) -> bytes:
    if not compact:
        return _INT.pack(count)
    out = bytearray()
    put_varint(out, count + 1)
    return bytes(out)


def decode_produce(version: int, body: memoryview) -> ProduceAnswer:
    """MalformedData where the bytes do not fit."""
    compact = version >= FLEXIBLE_FROM
    stored: dict[tuple[str, int], int] = {}
    refused: dict[tuple[str, int], ProduceRefusal] = {}
    try:
        topics, at = _take_count(body, 0, compact)
        for _ in range(topics):
            topic, at = _take_string(body, at, compact)
            left, at = _take_count(body, at, compact)
            while left > 0:
                if compact:
                    quiet, at = quiet_answers(body, at, left)
                    for number, base_offset in quiet:
                        stored[topic or "", number] = base_offset
                    left -= len(quiet)
                if left > 0:
                    at = _take_one(version, body, at, topic or "", stored, refused)
                    left -= 1
            if compact:
                at = skip_tags(body, at)
        (throttle_ms,) = _INT.unpack_from(body, at)
    except struct.error as cut_off:
        raise MalformedData("a Produce answer is cut off") from cut_off
    return ProduceAnswer(throttle_ms, stored, refused)


def _take_one(
    version: int,
    body: memoryview,
    at: int,
    topic: str,
    stored: dict[tuple[str, int], int],
    refused: dict[tuple[str, int], ProduceRefusal],
) -> int:
    """One partition's part, whatever it says; the position behind it."""
    compact = version >= FLEXIBLE_FROM
    number, code, base_offset, _append_time, _log_start = _ANSWER.unpack_from(body, at)
    at += _ANSWER.size
    errors: list[tuple[int, str]] = []
    message: str | None = None
    if version >= RECORD_ERRORS_FROM:
        count, at = _take_count(body, at, compact)
        for _ in range(count):
            (index,) = _INT.unpack_from(body, at)
            text, at = _take_string(body, at + _INT.size, compact)
            errors.append((index, text or ""))
            if compact:
                at = skip_tags(body, at)
        message, at = _take_string(body, at, compact)
    if compact:
        at = skip_tags(body, at)
    error = failure(code)
    if error is None or error is KafkaCode.DUPLICATE_SEQUENCE_NUMBER:
        stored[topic, number] = base_offset
    else:
        refused[topic, number] = ProduceRefusal(error, tuple(errors), message or "")
    return at


def _take_string(body: memoryview, at: int, compact: bool) -> tuple[str | None, int]:
    if compact:
        length, at = take_varint(body, at)
        length -= 1
    else:
        length = int.from_bytes(body[at : at + 2], "big", signed=True)
        at += 2
        if at > len(body):
            raise MalformedData("a Produce answer is cut off")
    return (None, at) if length < 0 else take_text(body, at, length)


def _take_count(body: memoryview, at: int, compact: bool) -> tuple[int, int]:
    if compact:
        count, at = take_varint(body, at)
        count -= 1
    else:
        (count,) = _INT.unpack_from(body, at)
        at += _INT.size
    if count > len(body) - at:
        raise MalformedData(f"a Produce answer announces {count} elements where {len(body) - at} bytes are left")
    return max(count, 0), at
