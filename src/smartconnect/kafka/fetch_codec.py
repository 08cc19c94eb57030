"""Fetch requests and answers (v11 to v13) by hand: records are slices of the answer's own buffer, nothing is copied.

Pure; used by `fetch_channel` and `log_scan`. Source: Kafka's FetchRequest/FetchResponse schemas, KIP-227 (sessions), KIP-392
(rack), KIP-482 (compact encoding in v12), KIP-516 (v13 names topics by their ids, so that a topic that was made again under the
same name is another one). Every length is checked against what is left before anything is allocated for it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.primitives import (
    compact_string,
    plain_string,
    put_varint,
    skip_tags,
    take_bytes,
    take_text,
    take_varint,
)

FLEXIBLE_FROM = 12
BY_ID_FROM = 13
LAST_BY_NAME = BY_ID_FROM - 1
ID_SIZE = 16

_HEAD = struct.Struct(">iiiibii")
_WANTED_11 = struct.Struct(">iiqqi")
_WANTED_12 = struct.Struct(">iiqiqi")
_INT = struct.Struct(">i")
_ANSWER = struct.Struct(">ihi")
_PARTITION = struct.Struct(">ihqqq")
_ABORTED = struct.Struct(">qq")


class FetchQuestion(NamedTuple):
    """What holds for a whole request. `isolation` 1 is read_committed; sizes in bytes."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation: int
    session_id: int
    session_epoch: int
    rack: str


class TopicRef(NamedTuple):
    """A topic as requests name it: by its id from v13 on, by its name before. `topic_id`: 16 bytes, empty where nobody told it."""

    name: str
    topic_id: bytes = b""


class Wanted(NamedTuple):
    """One partition of a request; `leader_epoch` is the one we believe is current."""

    partition: int
    leader_epoch: int
    offset: int
    max_bytes: int


class PartitionAnswer(NamedTuple):
    """One partition of an answer, as the broker sent it; `records` may end in a partial batch. `topic` is the name, empty for an
    id that nobody asked for."""

    topic: str
    partition: int
    error: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: list[tuple[int, int]]
    preferred_replica: int
    records: memoryview


class FetchAnswer(NamedTuple):
    throttle_ms: int
    error: int
    session_id: int
    partitions: list[PartitionAnswer]


def encode_fetch(
    version: int,
    question: FetchQuestion,
    wanted: Iterable[tuple[TopicRef, Sequence[Wanted]]],
    forgotten: Mapping[TopicRef, Sequence[int]],
) -> bytes:
    """A request body; `forgotten` are partitions that leave the session. From v13 on every topic must have an id."""
    compact = version >= FLEXIBLE_FROM
    out = bytearray(
        _HEAD.pack(
            -1,
            question.max_wait_ms,
            question.min_bytes,
            question.max_bytes,
            question.isolation,
            question.session_id,
            question.session_epoch,
        )
    )
    topics = list(wanted)
    _put_count(out, len(topics), compact)
    for topic, partitions in topics:
        out += _named(topic, version)
        _put_count(out, len(partitions), compact)
        for number, epoch, offset, max_bytes in partitions:
            if compact:
                out += _WANTED_12.pack(number, epoch, offset, -1, -1, max_bytes)
                out.append(0)
            else:
                out += _WANTED_11.pack(number, epoch, offset, -1, max_bytes)
        if compact:
            out.append(0)
    _put_count(out, len(forgotten), compact)
    for topic, numbers in forgotten.items():
        out += _named(topic, version)
        _put_count(out, len(numbers), compact)
        out += struct.pack(f">{len(numbers)}i", *numbers)
        if compact:
            out.append(0)
    out += compact_string(question.rack) + b"\0" if compact else plain_string(question.rack)
    return bytes(out)


def _named(topic: TopicRef, version: int) -> bytes:
    if version >= BY_ID_FROM:
        return topic.topic_id
    return compact_string(topic.name) if version >= FLEXIBLE_FROM else plain_string(topic.name)


def _put_count(out: bytearray, count: int, compact: bool) -> None:
    if compact:
        put_varint(out, count + 1)
    else:
        out += _INT.pack(count)


def decode_fetch(version: int, body: memoryview, names: Mapping[bytes, str]) -> FetchAnswer:
    """MalformedData where the bytes do not fit; the records of a partition are a slice of `body`. `names` of the topics asked for by id."""
    compact = version >= FLEXIBLE_FROM
    try:
        throttle, error, session = _ANSWER.unpack_from(body, 0)
        topics, at = _take_count(body, _ANSWER.size, compact)
        answers: list[PartitionAnswer] = []
        for _ in range(topics):
            topic, at = _take_topic(body, at, version, names)
            partitions, at = _take_count(body, at, compact)
            for _ in range(partitions):
                answer, at = _take_partition(body, at, topic, compact)
                answers.append(answer)
            if compact:
                at = skip_tags(body, at)
    except struct.error as cut_off:
        raise MalformedData("a Fetch answer is cut off") from cut_off
    return FetchAnswer(throttle, error, session, answers)


def _take_partition(body: memoryview, at: int, topic: str, compact: bool) -> tuple[PartitionAnswer, int]:
    number, error, high, stable, start = _PARTITION.unpack_from(body, at)
    count, at = _take_count(body, at + _PARTITION.size, compact)
    aborted: list[tuple[int, int]] = []
    for _ in range(count):
        aborted.append(_ABORTED.unpack_from(body, at))
        at = skip_tags(body, at + _ABORTED.size) if compact else at + _ABORTED.size
    (preferred,) = _INT.unpack_from(body, at)
    length, at = _take_count(body, at + _INT.size, compact)
    records, at = take_bytes(body, at, length)
    if compact:
        at = skip_tags(body, at)
    return PartitionAnswer(topic, number, error, high, stable, start, aborted, preferred, records), at


def _take_topic(body: memoryview, at: int, version: int, names: Mapping[bytes, str]) -> tuple[str, int]:
    if version >= BY_ID_FROM:
        raw, at = take_bytes(body, at, ID_SIZE)
        return names.get(bytes(raw), ""), at
    if version >= FLEXIBLE_FROM:
        length, at = take_varint(body, at)
        return take_text(body, at, length - 1)
    length = int.from_bytes(body[at : at + 2], "big", signed=True)
    return take_text(body, at + 2, length)


def _take_count(body: memoryview, at: int, compact: bool) -> tuple[int, int]:
    """(elements or bytes, position behind the number); null counts as none."""
    if compact:
        count, at = take_varint(body, at)
        count -= 1
    else:
        (count,) = _INT.unpack_from(body, at)
        at += _INT.size
    if count > len(body) - at:
        raise MalformedData(f"a Fetch answer announces {count} elements where {len(body) - at} bytes are left")
    return max(count, 0), at
