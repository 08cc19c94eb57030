"""What is wrong with a request, field by field. Problems are collected and reported together, never one at a time."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ProblemKind(enum.StrEnum):
    """Which API error a problem asks for; control maps it, with the operation, to a code of api.md §8."""

    FIELD = "field"
    BETWEEN_FIELDS = "between_fields"
    TOPIC_MISSING = "topic_missing"
    TOPIC_IN_USE = "topic_in_use"
    REPLICATION_FACTOR = "replication_factor"
    REDIS_TYPE = "redis_type"
    STORE_CREDENTIALS = "store_credentials"
    KAFKA_CLUSTER = "kafka_cluster"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Problem:
    """One field ("sink_task.store_keys") and the reason. `warning`: told as an event, refuses nothing."""

    field: str
    reason: str
    kind: ProblemKind = ProblemKind.FIELD
    warning: bool = False
