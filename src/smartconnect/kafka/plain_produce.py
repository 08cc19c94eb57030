"""One record batch to one partition, outside of transactions and without a producer id, acknowledged by all in-sync replicas.

At least once: a lost answer makes it go out again. For records of ours that are keyed and mean the same when they are there twice.
Used by the replication for marks of groups, producer ids and what MirrorMaker 2's tools read."""

from __future__ import annotations

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import LEADER_MOVED, RETRIABLE, KafkaCode
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.produce_codec import Buffer, ProduceRefusal, decode_produce, encode_produce
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import TopicPartition

_LANE = "plain produce"
_TIMEOUT_MS = 15_000


async def produce_plain(cluster: Cluster, tp: TopicPartition, batch: Buffer) -> int:
    """The batch's base offset once it is stored. Follows the leader for the cluster's patience; what cannot be cured is raised, a
    topic that does not exist at once."""
    doing = f"write to {tp}"

    async def attempt() -> int:
        leader = (await cluster.leaders_of([tp])).get(tp)
        if leader is None:
            known = cluster.leaders.topic(tp.topic)
            if known is not None and known.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise refusal(doing, known.error)
            cluster.leaders.invalidate([tp.topic])
            raise TryAgain(doing, KafkaCode.LEADER_NOT_AVAILABLE)
        connection = await cluster.connection(leader[0], _LANE)
        version = connection.version(messages.PRODUCE)
        parts = encode_produce(version, None, _TIMEOUT_MS, {tp.topic: [(tp.partition, batch)]})
        answer = decode_produce(version, await connection.exchange(messages.PRODUCE, version, parts))
        connection.throttle(answer.throttle_ms / 1000)
        if tp in answer.stored:
            return answer.stored[tp]
        code, _, message = answer.refused.get(tp, ProduceRefusal(KafkaCode.UNKNOWN_SERVER_ERROR))
        if code in LEADER_MOVED or code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            cluster.leaders.invalidate([tp.topic])
        if code in RETRIABLE:
            raise TryAgain(doing, code)
        raise refusal(doing, code, message)

    return await cluster.persist(attempt)
