"""The records that MirrorMaker 2's client tools read (RemoteClusterUtils, MirrorClient): big-endian, a string is its length as i16 and
UTF-8 (kafka-replication.md §7; Kafka's OffsetSync, Checkpoint and Heartbeat classes). Pure; used by `mm2`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.primitives import plain_string
from smartconnect.kafka.types import TopicPartition

_INT = struct.Struct(">i")
_TWO_LONGS = struct.Struct(">qq")
_VERSIONED_LONGS = struct.Struct(">hqq")
_VERSIONED_LONG = struct.Struct(">hq")
_VERSION = 0
_LONGEST = (1 << 15) - 1


@dataclass(frozen=True, slots=True)
class OffsetSync:
    """Source offset `upstream` of `source` lies at `downstream` on the target."""

    source: TopicPartition
    upstream: int
    downstream: int

    def key(self) -> bytes:
        return _text(self.source.topic) + _INT.pack(self.source.partition)

    def value(self) -> bytes:
        return _TWO_LONGS.pack(self.upstream, self.downstream)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A group's offset on the source, and where that is on the target partition."""

    group: str
    target: TopicPartition
    upstream: int
    downstream: int
    metadata: str

    def key(self) -> bytes:
        return _text(self.group) + _text(self.target.topic) + _INT.pack(self.target.partition)

    def value(self) -> bytes:
        return _VERSIONED_LONGS.pack(_VERSION, self.upstream, self.downstream) + _text(self.metadata)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life written on the source; its copy on the target tells that the way is open. `timestamp_ms`: when it was written."""

    source_alias: str
    target_alias: str
    timestamp_ms: int

    def key(self) -> bytes:
        return _text(self.source_alias) + _text(self.target_alias)

    def value(self) -> bytes:
        return _VERSIONED_LONG.pack(_VERSION, self.timestamp_ms)


def _text(text: str) -> bytes:
    if len(text.encode()) > _LONGEST:
        raise MalformedData(f"a name or metadata of more than {_LONGEST} bytes has no place in a MirrorMaker record")
    return plain_string(text)
