"""What a cluster looks like to us: plain values, made from answers of brokers, used by everybody above `kafka`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from smartconnect.kafka.codes import KafkaCode


class TopicPartition(NamedTuple):
    """A partition by name; prints as `orders-3`, the way Kafka's own tools write it."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Broker(NamedTuple):
    """A broker as the cluster advertises it."""

    node_id: int
    host: str
    port: int
    rack: str | None


class PartitionInfo(NamedTuple):
    """`leader` is −1 while there is none; `leader_epoch` −1 where the broker does not tell it."""

    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    error: KafkaCode | None


class TopicInfo(NamedTuple):
    """`topic_id` is None before Metadata v10 (Kafka 2.8). `operations` are ACL operation names, None unless asked for."""

    name: str
    topic_id: UUID | None
    partitions: Mapping[int, PartitionInfo]
    error: KafkaCode | None
    internal: bool
    operations: frozenset[str] | None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ClusterMetadata:
    """One answer to Metadata. `controller` is −1 while unknown; `topics` holds what was asked for."""

    brokers: Mapping[int, Broker]
    cluster_id: str
    controller: int
    topics: Mapping[str, TopicInfo]
