"""Metadata answers → `ClusterMetadata`, and the cache of leaders made from them. Used by `cluster`.

An answer whose bytes equal the last one to the same question (throttle time aside) is not decoded again: the object made last time is
returned as long as somebody still holds it, so that watching thousands of topics costs a comparison."""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection
from functools import partial
from typing import NamedTuple

from smartconnect.kafka import messages
from smartconnect.kafka.connection import LARGE_ANSWER, Connection, encode, off_loop
from smartconnect.kafka.metadata_codec import decode_metadata
from smartconnect.kafka.types import ClusterMetadata, TopicInfo, TopicPartition

_THROTTLE = 4
_Asked = tuple[frozenset[str] | None, bool, int]


class _Last(NamedTuple):
    """The newest answer to a question: its bytes, and what was made of them."""

    content: bytes
    made: weakref.ref[ClusterMetadata]


class MetadataReader:
    """Asks one connection. Keeps the newest answer to a question only while somebody holds what was made of it."""

    def __init__(self) -> None:
        self._last: dict[_Asked, _Last] = {}

    async def read(self, connection: Connection, topics: Collection[str] | None, operations: bool) -> ClusterMetadata:
        api = messages.METADATA
        version = connection.version(api)
        fields = _question(topics, operations)
        body = await connection.exchange(api, version, [await encode(api, version, fields)])
        asked = (None if topics is None else frozenset(topics), operations, version)
        content, last = bytes(body[_THROTTLE:]), self._last.get(asked)
        made = last.made() if last is not None and last.content == content else None
        if made is not None:
            return made
        found = await off_loop(decode_metadata, version, body, large=len(body) > LARGE_ANSWER)
        self._last[asked] = _Last(content, weakref.ref(found, partial(self._forget, asked)))
        return found

    def _forget(self, asked: _Asked, made: weakref.ref[ClusterMetadata]) -> None:
        last = self._last.get(asked)
        if last is not None and last.made is made:
            del self._last[asked]


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
