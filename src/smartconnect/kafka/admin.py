"""Administration: topics, partitions, configurations, records to forget, what the cluster lets us do.

Calls that concern several things answer for each: None, or a `Refused` with Kafka's code and the broker's words; the caller
decides what is an error. A controller that moves is followed; brokers that do not answer raise ClusterUnreachable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.leaders import ask_leaders, ask_leaders_now
from smartconnect.kafka.messages import Api
from smartconnect.kafka.offsets import by_topic
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import Broker, TopicPartition

_TIMEOUT_MS = 15_000


class Refused(NamedTuple):
    """Why one of several things was not done."""

    code: KafkaCode
    message: str

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


@dataclass(frozen=True, slots=True)
class NewTopic:
    """`replication_factor` −1 is the broker's default (Kafka 2.4)."""

    name: str
    partitions: int
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)


class ResourceKind(IntEnum):
    """What has a configuration."""

    TOPIC = 2
    BROKER = 4
    GROUP = 32


class Resource(NamedTuple):
    """A topic or group by name, a broker by its number in decimal."""

    kind: ResourceKind
    name: str


class ConfigValue(NamedTuple):
    """`source`: 1 set on the topic, 2 dynamic on the broker, 4 static on the broker, 5 default, 6 logger (KIP-226).
    Sensitive values are never told."""

    value: str | None
    source: int
    read_only: bool
    sensitive: bool

    @property
    def is_default(self) -> bool:
        return self.source == 5


class ClusterDescription(NamedTuple):
    """`operations`: our ACL rights on the cluster, None from brokers that do not tell."""

    cluster_id: str
    controller: int
    brokers: Mapping[int, Broker]
    operations: frozenset[str] | None


class ActiveProducer(NamedTuple):
    """A producer of which the leader keeps state; `transaction_start` −1: no open transaction."""

    producer_id: int
    epoch: int
    last_sequence: int
    last_timestamp_ms: int
    transaction_start: int


async def create_topics(cluster: Cluster, topics: Sequence[NewTopic], *, validate_only: bool = False) -> dict[str, Refused | None]:
    """TOPIC_ALREADY_EXISTS is an answer like others. Leaders may need some ms more than the answer. `validate_only`: nothing is made,
    the answer is the one that making them would get."""
    wanted = [
        {
            "name": topic.name,
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication_factor,
            "assignments": [],
            "configs": [{"name": name, "value": value} for name, value in topic.configs.items()],
        }
        for topic in topics
    ]
    fields = {"topics": wanted, "timeout_ms": _TIMEOUT_MS, "validate_only": validate_only}
    answer = await _ask_controller(cluster, messages.CREATE_TOPICS, fields, "create topics")
    cluster.leaders.invalidate([topic.name for topic in topics])
    return {topic.name: _refused(topic) for topic in answer.topics}


async def create_partitions(cluster: Cluster, counts: Mapping[str, int]) -> dict[str, Refused | None]:
    """Grow topics to so many partitions."""
    wanted = [{"name": name, "count": count, "assignments": None} for name, count in counts.items()]
    fields = {"topics": wanted, "timeout_ms": _TIMEOUT_MS, "validate_only": False}
    answer = await _ask_controller(cluster, messages.CREATE_PARTITIONS, fields, "create partitions")
    cluster.leaders.invalidate(counts)
    return {topic.name: _refused(topic) for topic in answer.results}


async def delete_topics(cluster: Cluster, names: Collection[str]) -> dict[str, Refused | None]:
    """The deletion itself goes on after the answer."""
    fields = {"topic_names": list(names), "timeout_ms": _TIMEOUT_MS}
    answer = await _ask_controller(cluster, messages.DELETE_TOPICS, fields, "delete topics")
    cluster.leaders.invalidate(names)
    return {topic.name: _refused(topic) for topic in answer.responses}


async def delete_records(cluster: Cluster, before: Mapping[TopicPartition, int]) -> dict[TopicPartition, int | KafkaCode]:
    """Forget records below an offset (−1: all) → the new log start, or the partition's code."""

    async def ask(connection: Connection, part: Mapping[TopicPartition, tuple[int, int]]) -> dict[TopicPartition, int | KafkaCode]:
        topics = [
            {"name": topic, "partitions": [{"partition_index": tp.partition, "offset": part[tp][0]} for tp in members]}
            for topic, members in by_topic(part)
        ]
        answer = await connection.call(messages.DELETE_RECORDS, {"topics": topics, "timeout_ms": _TIMEOUT_MS})
        return {
            TopicPartition(topic.name, p.partition_index): failure(p.error_code) or int(p.low_watermark)
            for topic in answer.topics
            for p in topic.partitions
        }

    return await ask_leaders(cluster, before, ask)


async def describe_configs(
    cluster: Cluster, resources: Collection[Resource], keys: Collection[str] | None = None
) -> dict[Resource, dict[str, ConfigValue] | Refused]:
    """Configuration values of topics, groups or brokers (a broker is asked itself): those of `keys` that it knows, None: all."""
    found: dict[Resource, dict[str, ConfigValue] | Refused] = {}
    wanted = None if keys is None else list(keys)
    for node_id, members in _by_node(resources).items():
        asked = [{"resource_type": r.kind, "resource_name": r.name, "configuration_keys": wanted} for r in members]
        answer = await _ask_node(cluster, node_id, messages.DESCRIBE_CONFIGS, {"resources": asked})
        for result in answer.results:
            resource = Resource(ResourceKind(result.resource_type), result.resource_name)
            found[resource] = _refused(result) or {
                c.name: ConfigValue(c.value, c.config_source, bool(c.read_only), bool(c.is_sensitive)) for c in result.configs
            }
    return found


async def incremental_alter_configs(
    cluster: Cluster, changes: Mapping[Resource, Mapping[str, str | None]]
) -> dict[Resource, Refused | None]:
    """Set values, or with None go back to the default; everything not named stays (KIP-339)."""
    outcome: dict[Resource, Refused | None] = {}
    for node_id, members in _by_node(changes).items():
        asked = [
            {
                "resource_type": r.kind,
                "resource_name": r.name,
                "configs": [
                    {"name": name, "config_operation": 0 if value is not None else 1, "value": value}
                    for name, value in changes[r].items()
                ],
            }
            for r in members
        ]
        api, fields = messages.INCREMENTAL_ALTER_CONFIGS, {"resources": asked, "validate_only": False}
        answer = await _ask_node(cluster, node_id, api, fields)
        for result in answer.responses:
            outcome[Resource(ResourceKind(result.resource_type), result.resource_name)] = _refused(result)
    return outcome


async def describe_cluster(cluster: Cluster) -> ClusterDescription:
    """Who the cluster is, and what we may do to it (KIP-700); before Kafka 2.8 without `operations`."""

    async def attempt() -> ClusterDescription:
        connection = await cluster.any_connection()
        if not connection.supports(messages.DESCRIBE_CLUSTER):
            found = await cluster.metadata([])
            return ClusterDescription(found.cluster_id, found.controller, found.brokers, None)
        answer = await connection.call(messages.DESCRIBE_CLUSTER, {"include_cluster_authorized_operations": True})
        if code := failure(answer.error_code):
            raise refusal("describe the cluster", code, answer.error_message)
        brokers = {b.broker_id: Broker(b.broker_id, b.host, b.port, b.rack) for b in answer.brokers}
        operations = messages.operation_names(answer.authorized_operations)
        return ClusterDescription(answer.cluster_id, answer.controller_id, brokers, operations)

    return await cluster.persist(attempt)


async def describe_producers(
    cluster: Cluster, partitions: Collection[TopicPartition], *, patient: bool = True
) -> dict[TopicPartition, list[ActiveProducer] | KafkaCode]:
    """Producers that the leaders remember (KIP-664); not `patient`: as `ask_leaders_now` does."""

    async def ask(
        connection: Connection, part: Mapping[TopicPartition, tuple[None, int]]
    ) -> dict[TopicPartition, list[ActiveProducer] | KafkaCode]:
        topics = [{"name": topic, "partition_indexes": [tp.partition for tp in members]} for topic, members in by_topic(part)]
        answer = await connection.call(messages.DESCRIBE_PRODUCERS, {"topics": topics})
        return {
            TopicPartition(topic.name, p.partition_index): failure(p.error_code)
            or [
                ActiveProducer(a.producer_id, a.producer_epoch, a.last_sequence, a.last_timestamp, a.current_txn_start_offset)
                for a in p.active_producers
            ]
            for topic in answer.topics
            for p in topic.partitions
        }

    questions = dict.fromkeys(partitions)
    return await (ask_leaders(cluster, questions, ask) if patient else ask_leaders_now(cluster, questions, ask))


async def _ask_controller(cluster: Cluster, api: Api, fields: Mapping[str, object], doing: str) -> Any:
    async def attempt() -> Any:
        answer = await cluster.call_controller(api, fields)
        for name in ("topics", "results", "responses"):
            for part in getattr(answer, name, None) or ():
                if failure(part.error_code) in (KafkaCode.NOT_CONTROLLER, KafkaCode.THROTTLING_QUOTA_EXCEEDED):
                    raise TryAgain(doing, KafkaCode(part.error_code))
        return answer

    return await cluster.persist(attempt)


async def _ask_node(cluster: Cluster, node_id: int, api: Api, fields: Mapping[str, object]) -> Any:
    if node_id < 0:
        return await cluster.call_any(api, fields)

    async def attempt() -> Any:
        return await (await cluster.connection(node_id)).call(api, fields)

    return await cluster.persist(attempt)


def _by_node(resources: Collection[Resource]) -> dict[int, list[Resource]]:
    """Resources by the broker that must be asked; −1: any."""
    nodes: dict[int, list[Resource]] = {}
    for resource in resources:
        node_id = int(resource.name) if resource.kind is ResourceKind.BROKER and resource.name else -1
        nodes.setdefault(node_id, []).append(resource)
    return nodes


def _refused(result: Any) -> Refused | None:
    code = failure(result.error_code)
    return None if code is None else Refused(code, getattr(result, "error_message", None) or "")
