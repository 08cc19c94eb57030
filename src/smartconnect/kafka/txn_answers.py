"""Reading the answers to transactional calls: which parts are refused, and which of several codes decides. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartconnect.kafka.codes import COORDINATOR_MOVED, FENCED, KafkaCode, failure
from smartconnect.kafka.types import TopicPartition


def refused_parts(answer: Any) -> dict[TopicPartition | None, KafkaCode]:
    """Whatever an answer refuses: under None the call itself, else single partitions."""
    codes: dict[TopicPartition | None, KafkaCode] = {}
    if code := failure(getattr(answer, "error_code", 0)):
        codes[None] = code
    for topic in getattr(answer, "topics", ()):
        for p in topic.partitions:
            if code := failure(p.error_code):
                codes[TopicPartition(topic.name, p.partition_index)] = code
    for topic in getattr(answer, "results_by_topic_v3_and_below", ()):
        for p in topic.results_by_partition:
            if code := failure(p.partition_error_code):
                codes[TopicPartition(topic.name, p.partition_index)] = code
    return codes


def gravest(codes: Mapping[TopicPartition | None, KafkaCode]) -> KafkaCode:
    """The code that decides: being fenced, then what ends the transaction, then what waiting cures."""

    def weight(code: KafkaCode) -> int:
        if code in FENCED:
            return 3
        if code is KafkaCode.OPERATION_NOT_ATTEMPTED:
            return 0
        return 1 if code in COORDINATOR_MOVED or code is KafkaCode.CONCURRENT_TRANSACTIONS else 2

    return max(codes.values(), key=weight)
