"""The topic `__smartconnect_positions`: its name and shape, where a task's records lie, how it is made (kafka-replication.md §6.3).

Guarantees after `ensure`: the topic exists with at least our partitions, is compacted and nothing but compacted, and every partition of
ours has a leader that answers. A topic of that name that would lose positions is refused. Called when a unit starts.
"""

from __future__ import annotations

from typing import Final

from fastcrc import crc32

from smartconnect.domain.errors import Retryable
from smartconnect.kafka.admin import NewTopic, Refused, Resource, ResourceKind, create_topics, describe_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, KafkaCode
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.offsets import LATEST, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import TopicPartition

TOPIC: Final = "__smartconnect_positions"
PARTITIONS: Final = 8
IDENTITIES: Final = TopicPartition(TOPIC, 0)
"""Where `i/` records lie, whatever the task."""

LARGEST_BATCH: Final = 8 << 20
"""A commit of some thousand partitions is one batch; below `segment.bytes`, as brokers demand."""

_CONFIGS: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(16 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(LARGEST_BATCH),
    "compression.type": "producer",
}
_DEFAULT_REPLICAS: Final = 3
_NOT_YET: Final = LEADER_MOVED | {KafkaCode.UNKNOWN_TOPIC_OR_PARTITION}


class PositionsTopicUnfit(Retryable):
    """A topic of our name that would lose positions; the sentence says what to change."""

    code = "positions_topic_unfit"


def partition_of(task_id: str) -> TopicPartition:
    """Where the records of a task lie."""
    return TopicPartition(TOPIC, int(crc32.iscsi(task_id.encode())) % PARTITIONS)


async def ensure(cluster: Cluster, replication_factor: int | None) -> None:
    """Create the topic if it is missing (`replication_factor` None: min(3, brokers)), check it if it is there, wait for its leaders."""
    metadata = await cluster.metadata([TOPIC])
    found = metadata.topics.get(TOPIC)
    if found is None or found.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
        replicas = replication_factor or min(_DEFAULT_REPLICAS, len(metadata.brokers))
        outcome = (await create_topics(cluster, [NewTopic(TOPIC, PARTITIONS, replicas, _CONFIGS)]))[TOPIC]
        if outcome is not None and outcome.code is not KafkaCode.TOPIC_ALREADY_EXISTS:
            raise refusal(f"create the topic {TOPIC}", outcome.code, outcome.message)
    await _leaders_answer(cluster)
    await _check(cluster)


async def _leaders_answer(cluster: Cluster) -> None:
    """Brokers learn of a new topic one after the other, and its leaders answer some ms later still."""
    doing = f"find the topic {TOPIC}"

    async def attempt() -> None:
        found = (await cluster.metadata([TOPIC])).topics.get(TOPIC)
        if found is None or found.error in _NOT_YET:
            raise TryAgain(doing, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION)
        if found.error is not None:
            raise refusal(doing, found.error)
        if len(found.partitions) < PARTITIONS:
            raise PositionsTopicUnfit(f"the topic {TOPIC} has {len(found.partitions)} partitions: it needs {PARTITIONS}")
        wanted = dict.fromkeys((TopicPartition(TOPIC, number) for number in range(PARTITIONS)), LATEST)
        for tp, listed in (await list_offsets(cluster, wanted, READ_UNCOMMITTED)).items():
            if listed.error in _NOT_YET:
                raise TryAgain(doing, listed.error)
            if listed.error is not None:
                raise refusal(f"tell where {tp} ends", listed.error)

    await cluster.persist(attempt)


async def _check(cluster: Cluster) -> None:
    """Who may not see configurations cannot check them."""
    resource = Resource(ResourceKind.TOPIC, TOPIC)
    configs = (await describe_configs(cluster, [resource]))[resource]
    if isinstance(configs, Refused):
        return
    policy = configs["cleanup.policy"].value
    if policy != "compact":
        raise PositionsTopicUnfit(
            f"the topic {TOPIC} has cleanup.policy={policy}: positions would be deleted, and data copied twice. Set it to compact"
        )
