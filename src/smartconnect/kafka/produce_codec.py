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
from smartconnect.kafka.types import TopicPartition

FLEXIBLE_FROM = 9
RECORD_ERRORS_FROM = 8
ALL_IN_SYNC = -1

Buffer = bytes | bytearray | memoryview

_ACKS_TIMEOUT = struct.Struct(">hi")
_INT = struct.Struct(">i")
_INDEX_SIZE = struct.Struct(">ii")
_ANSWER = struct.Struct(">ihqqq")


class ProduceAnswer(NamedTuple):
    """What became of one batch. `record_errors` are (index in the batch, message); often empty even with INVALID_RECORD.
    `log_append_time` ≥ 0 on a CreateTime topic marks a batch that the broker had already (a repeat)."""

    error: KafkaCode | None
    base_offset: int
    log_append_time: int
    log_start_offset: int
    record_errors: tuple[tuple[int, str], ...]
    message: str


def encode_produce(
    version: int, transactional_id: str | None, timeout_ms: int, batches: Mapping[str, Sequence[tuple[int, Buffer]]]
) -> list[Buffer]:
    """The request's body as parts: topic → (partition, one whole batch)."""
    compact = version >= FLEXIBLE_FROM
    parts: list[Buffer] = []
    between = bytearray(_nullable(transactional_id, compact) + _ACKS_TIMEOUT.pack(ALL_IN_SYNC, timeout_ms))
    _put_count(between, len(batches), compact)
    for topic, partitions in batches.items():
        between += compact_string(topic) if compact else plain_string(topic)
        _put_count(between, len(partitions), compact)
        for number, batch in partitions:
            if compact:
                between += _INT.pack(number)
                put_varint(between, len(batch) + 1)
            else:
                between += _INDEX_SIZE.pack(number, len(batch))
            parts += [between, batch]
            between = bytearray(b"\0" if compact else b"")
        if compact:
            between.append(0)
    if compact:
        between.append(0)
    parts.append(between)
    return parts


def _nullable(text: str | None, compact: bool) -> bytes:
    if text is None:
        return b"\0" if compact else b"\xff\xff"
    return compact_string(text) if compact else plain_string(text)


def _put_count(out: bytearray, count: int, compact: bool) -> None:
    if compact:
        put_varint(out, count + 1)
    else:
        out += _INT.pack(count)


def decode_produce(version: int, body: memoryview) -> tuple[int, dict[TopicPartition, ProduceAnswer]]:
    """(throttle in ms, answer for each partition); MalformedData where the bytes do not fit."""
    compact = version >= FLEXIBLE_FROM
    answers: dict[TopicPartition, ProduceAnswer] = {}
    try:
        topics, at = _take_count(body, 0, compact)
        for _ in range(topics):
            topic, at = _take_string(body, at, compact)
            partitions, at = _take_count(body, at, compact)
            for _ in range(partitions):
                number, answer, at = _take_answer(version, body, at)
                answers[TopicPartition(topic or "", number)] = answer
            if compact:
                at = skip_tags(body, at)
        (throttle_ms,) = _INT.unpack_from(body, at)
    except struct.error as cut_off:
        raise MalformedData("a Produce answer is cut off") from cut_off
    return throttle_ms, answers


def _take_answer(version: int, body: memoryview, at: int) -> tuple[int, ProduceAnswer, int]:
    compact = version >= FLEXIBLE_FROM
    number, error, base_offset, append_time, log_start = _ANSWER.unpack_from(body, at)
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
    answer = ProduceAnswer(failure(error), base_offset, append_time, log_start, tuple(errors), message or "")
    return number, answer, at


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
