"""Where logs begin and end: ListOffsets and OffsetForLeaderEpoch, asked of each partition's leader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.leaders import ask_leaders, ask_leaders_now
from smartconnect.kafka.types import TopicPartition

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3

READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1


@dataclass(frozen=True, slots=True)
class ListedOffset:
    """`offset` is −1 where no record is as new as the time asked for, or with `error`. Epoch −1: not known."""

    offset: int
    leader_epoch: int
    error: KafkaCode | None = None
    timestamp_ms: int = -1


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The end of the log as it is in the newest leader epoch that is not newer than the one asked for; both −1 where
    the broker does not know so old an epoch."""

    epoch: int
    end_offset: int
    error: KafkaCode | None = None


async def list_offsets(
    cluster: Cluster, times: Mapping[TopicPartition, int], isolation: int, *, patient: bool = True
) -> dict[TopicPartition, ListedOffset]:
    """LATEST, EARLIEST or a time in ms → the first offset from there on. LATEST with READ_COMMITTED is the last
    stable offset, with READ_UNCOMMITTED the high watermark. Every partition asked for is answered;
    not `patient`: as `ask_leaders_now` does."""

    async def ask(
        connection: Connection, part: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[TopicPartition, ListedOffset | KafkaCode]:
        fields = {
            "replica_id": -1,
            "isolation_level": isolation,
            "topics": [
                {
                    "name": topic,
                    "partitions": [
                        {"partition_index": tp.partition, "current_leader_epoch": part[tp][1], "timestamp": part[tp][0]}
                        for tp in members
                    ],
                }
                for topic, members in by_topic(part)
            ],
        }
        answer = await connection.call(messages.LIST_OFFSETS, fields)
        return {
            TopicPartition(topic.name, p.partition_index): failure(p.error_code)
            or ListedOffset(p.offset, p.leader_epoch, None, p.timestamp)
            for topic in answer.topics
            for p in topic.partitions
        }

    found = await (ask_leaders(cluster, times, ask) if patient else ask_leaders_now(cluster, times, ask))
    return {tp: ListedOffset(-1, -1, got) if isinstance(got, KafkaCode) else got for tp, got in found.items()}


async def epoch_ends(
    cluster: Cluster, epochs: Mapping[TopicPartition, int], *, patience_s: float | None = None
) -> dict[TopicPartition, EpochEnd]:
    """Leader epoch of a position → where that epoch ended (KIP-320). An end below the position means that an unclean
    election cut off what had been read."""

    async def ask(
        connection: Connection, part: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[TopicPartition, EpochEnd | KafkaCode]:
        fields = {
            "replica_id": -1,
            "topics": [
                {
                    "topic": topic,
                    "partitions": [
                        {"partition": tp.partition, "current_leader_epoch": part[tp][1], "leader_epoch": part[tp][0]}
                        for tp in members
                    ],
                }
                for topic, members in by_topic(part)
            ],
        }
        answer = await connection.call(messages.OFFSET_FOR_LEADER_EPOCH, fields)
        return {
            TopicPartition(topic.topic, p.partition): failure(p.error_code) or EpochEnd(p.leader_epoch, p.end_offset)
            for topic in answer.topics
            for p in topic.partitions
        }

    found = await ask_leaders(cluster, epochs, ask, patience_s=patience_s)
    return {tp: EpochEnd(-1, -1, got) if isinstance(got, KafkaCode) else got for tp, got in found.items()}


def by_topic(partitions: Mapping[TopicPartition, Any]) -> list[tuple[str, list[TopicPartition]]]:
    """Partitions of each topic, the way Kafka's requests nest them."""
    return [(topic, list(members)) for topic, members in groupby(sorted(partitions), key=lambda tp: tp.topic)]
