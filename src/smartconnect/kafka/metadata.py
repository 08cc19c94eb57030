"""Metadata answers → `ClusterMetadata`, and the cache of leaders made from them. Used by `cluster`.

An answer whose bytes equal the last one (throttle time aside) is not decoded again: the object made last time is
returned as long as somebody still holds it, so that watching thousands of topics costs a comparison."""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection
from typing import Any
from uuid import UUID

from smartconnect.kafka import messages
from smartconnect.kafka.codes import failure
from smartconnect.kafka.connection import LARGE_ANSWER, Connection, encode, off_loop
from smartconnect.kafka.types import Broker, ClusterMetadata, PartitionInfo, TopicInfo, TopicPartition

_THROTTLE = 4
_NO_ID = UUID(int=0)


class MetadataReader:
    """Asks one connection. Keeps the newest answer's bytes only while somebody holds what was made of them."""

    def __init__(self) -> None:
        self._asked: tuple[object, bool, int] | None = None
        self._bytes = memoryview(b"")
        self._made: weakref.ref[ClusterMetadata] | None = None

    async def read(self, connection: Connection, topics: Collection[str] | None, operations: bool) -> ClusterMetadata:
        api = messages.METADATA
        version = connection.version(api)
        fields = _question(topics, operations)
        body = await connection.exchange(api, version, [await encode(api, version, fields)])
        asked = (None if topics is None else frozenset(topics), operations, version)
        content = body[_THROTTLE:]
        made = self._made() if self._made is not None and self._asked == asked else None
        if made is not None and content == self._bytes:
            return made
        found = await off_loop(_decode, version, body, large=len(body) > LARGE_ANSWER)
        if topics is None or len(topics) > 1:
            self._remember(asked, content, found)
        return found

    def _remember(self, asked: tuple[object, bool, int], content: memoryview, found: ClusterMetadata) -> None:
        self._asked, self._bytes = asked, content
        self._made = weakref.ref(found, self._drop_bytes)

    def _drop_bytes(self, made: weakref.ref[ClusterMetadata]) -> None:
        if self._made is made:
            self._bytes, self._made = memoryview(b""), None


class LeaderCache:
    """(leader, epoch) of the partitions of topics that were asked for, with the time when they were learnt."""

    def __init__(self) -> None:
        self._topics: dict[str, tuple[TopicInfo, float]] = {}

    def learn(self, found: ClusterMetadata, now: float, *, everything: bool) -> None:
        """Take over an answer; of one about all topics only what somebody has asked for before."""
        for name, info in found.topics.items():
            if not everything or name in self._topics:
                self._topics[name] = (info, now)

    def get(self, tp: TopicPartition, not_before: float) -> tuple[int, int] | None:
        """None: unknown, without a leader, or learnt before `not_before`."""
        info, learnt = self._topics.get(tp.topic, (None, 0.0))
        if info is None or learnt < not_before:
            return None
        partition = info.partitions.get(tp.partition)
        return None if partition is None or partition.leader < 0 else (partition.leader, partition.leader_epoch)

    def topic(self, name: str) -> TopicInfo | None:
        """What was learnt last about a topic, however old."""
        known = self._topics.get(name)
        return None if known is None else known[0]

    def invalidate(self, topics: Collection[str]) -> None:
        """Trust what is known about topics no longer: the next look-up asks the cluster."""
        for topic in topics:
            if topic in self._topics:
                self._topics[topic] = (self._topics[topic][0], -math.inf)


def _question(topics: Collection[str] | None, operations: bool) -> dict[str, object]:
    return {
        "topics": None if topics is None else [{"name": name} for name in sorted(topics)],
        "allow_auto_topic_creation": False,
        "include_topic_authorized_operations": operations,
    }


def _decode(version: int, body: memoryview) -> ClusterMetadata:
    answer = messages.decode(messages.METADATA, version, body)
    brokers = {b.node_id: Broker(b.node_id, b.host, b.port, b.rack) for b in answer.brokers}
    topics = {topic.name: _topic(topic) for topic in answer.topics}
    return ClusterMetadata(brokers, answer.cluster_id or "", answer.controller_id, topics)


def _topic(topic: Any) -> TopicInfo:
    partitions = {
        p.partition_index: PartitionInfo(
            p.leader_id, p.leader_epoch, tuple(p.replica_nodes), tuple(p.isr_nodes), failure(p.error_code)
        )
        for p in topic.partitions
    }
    identity = topic.topic_id if topic.topic_id and topic.topic_id != _NO_ID else None
    operations = messages.operation_names(topic.authorized_operations)
    return TopicInfo(topic.name, identity, partitions, failure(topic.error_code), bool(topic.is_internal), operations)
