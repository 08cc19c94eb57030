"""Metadata answers (v8–v12) by hand: the answer about thousands of partitions is read every few seconds, and most of them say the same.

Pure; used by `metadata`. Source: Kafka's MetadataResponse schema, KIP-430 (operations), KIP-482 (compact encoding from v9), KIP-516 (topic
ids from v10). Every length is checked against what is left before anything is allocated for it. Partitions that say the same but for their
number are one object, and only the first of them is taken apart."""

from __future__ import annotations

import struct
from functools import lru_cache
from uuid import UUID

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.codes import failure
from smartconnect.kafka.messages import operation_names
from smartconnect.kafka.primitives import skip_tags, take_bytes, take_text, take_varint
from smartconnect.kafka.types import Broker, ClusterMetadata, PartitionInfo, TopicInfo

FLEXIBLE_FROM = 9
TOPIC_IDS_FROM = 10

_INT = struct.Struct(">i")
_SHORT = struct.Struct(">h")
_PARTITION = struct.Struct(">hiii")
_NUMBER_AT = 2
_NUMBER_END = 6
_NO_ID = bytes(16)
_NOT_ASKED = 1 << 31
_THROTTLE = 4


def decode_metadata(version: int, body: memoryview) -> ClusterMetadata:
    """MalformedData where the bytes do not fit."""
    try:
        return _Answer(version, body).read()
    except struct.error as cut_off:
        raise MalformedData("a Metadata answer is cut off") from cut_off


class _Answer:
    """How far one answer has been read, and what has been made of partitions so far: by their bytes without the number."""

    def __init__(self, version: int, body: memoryview) -> None:
        self._version, self._compact = version, version >= FLEXIBLE_FROM
        self._body, self._at = body, _THROTTLE
        self._made: dict[bytes, PartitionInfo] = {}

    def read(self) -> ClusterMetadata:
        brokers = [self._broker() for _ in range(self._count())]
        cluster_id, controller = self._string() or "", self._int()
        topics = [self._topic() for _ in range(self._count())]
        by_name = {topic.name: topic for topic in topics}
        return ClusterMetadata({broker.node_id: broker for broker in brokers}, cluster_id, controller, by_name)

    def _broker(self) -> Broker:
        node_id, host, port, rack = self._int(), self._name(), self._int(), self._string()
        self._tags()
        return Broker(node_id, host, port, rack)

    def _topic(self) -> TopicInfo:
        error, name, topic_id = self._short(), self._name(), self._topic_id()
        internal = self._bytes(1)[0] != 0
        partitions = self._partitions(self._count())
        operations = _operations(self._int() & 0xFFFFFFFF)
        self._tags()
        return TopicInfo(name, topic_id, partitions, failure(error), internal, operations)

    def _topic_id(self) -> UUID | None:
        if self._version < TOPIC_IDS_FROM:
            return None
        raw = bytes(self._bytes(16))
        return None if raw == _NO_ID else UUID(bytes=raw)

    def _partitions(self, count: int) -> dict[int, PartitionInfo]:
        """A guess at each partition's length that is wrong, or runs over the end, finds nothing that was made: bytes that are known tell
        their own length."""
        body, made, number_of = self._body, self._made, _INT.unpack_from
        found: dict[int, PartitionInfo] = {}
        length = 0
        for _ in range(count):
            at = self._at
            info = made.get(bytes(body[at : at + _NUMBER_AT]) + body[at + _NUMBER_END : at + length]) if length else None
            if info is None:
                info = self._partition()
                length = self._at - at
            else:
                self._at = at + length
            found[number_of(body, at + _NUMBER_AT)[0]] = info
        return found

    def _partition(self) -> PartitionInfo:
        body, start = self._body, self._at
        error, _number, leader, epoch = _PARTITION.unpack_from(body, start)
        self._at += _PARTITION.size
        replicas, isr, _offline = self._nodes(), self._nodes(), self._nodes()
        self._tags()
        key = bytes(body[start : start + _NUMBER_AT]) + body[start + _NUMBER_END : self._at]
        return self._made.setdefault(key, PartitionInfo(leader, epoch, replicas, isr, failure(error)))

    def _nodes(self) -> tuple[int, ...]:
        count = self._count()
        return struct.unpack(f">{count}i", self._bytes(count * _INT.size))

    # What all of this is made of

    def _count(self) -> int:
        """Elements; null counts as none."""
        if self._compact:
            count, self._at = take_varint(self._body, self._at)
            count -= 1
        else:
            count = self._int()
        left = len(self._body) - self._at
        if count > left:
            raise MalformedData(f"a Metadata answer announces {count} elements where {left} bytes are left")
        return max(count, 0)

    def _short(self) -> int:
        (value,) = _SHORT.unpack_from(self._body, self._at)
        self._at += _SHORT.size
        return int(value)

    def _int(self) -> int:
        (value,) = _INT.unpack_from(self._body, self._at)
        self._at += _INT.size
        return int(value)

    def _bytes(self, length: int) -> memoryview:
        taken, self._at = take_bytes(self._body, self._at, length)
        return taken

    def _name(self) -> str:
        text = self._string()
        if text is None:
            raise MalformedData("a Metadata answer lacks a name")
        return text

    def _string(self) -> str | None:
        if self._compact:
            length, self._at = take_varint(self._body, self._at)
            length -= 1
        else:
            length = self._short()
        if length < 0:
            return None
        text, self._at = take_text(self._body, self._at, length)
        return text

    def _tags(self) -> None:
        if self._compact:
            self._at = skip_tags(self._body, self._at)


@lru_cache(maxsize=64)
def _operations(field: int) -> frozenset[str] | None:
    """Bit n stands for the operation of that number; bit 31 alone: they were not asked for."""
    return None if field == _NOT_ASKED else operation_names([bit for bit in range(32) if field >> bit & 1])
