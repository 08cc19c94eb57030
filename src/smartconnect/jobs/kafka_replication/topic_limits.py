"""What a target topic lets in: the few settings that the data path must know of it. Read for many topics in one call, and again when
they are old or the topic is another one; used by `topic_view`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from smartconnect.jobs.kafka_replication.topic_configs import (
    AFTER,
    BEFORE,
    COMPRESSION_TYPE,
    DIFFERENCE,
    LEAST_MESSAGE_BYTES,
    MAX_MESSAGE_BYTES,
    has_mark,
)
from smartconnect.kafka.admin import ConfigValue, Refused, Resource, ResourceKind, describe_configs, incremental_alter_configs
from smartconnect.kafka.cluster import Cluster

_CLEANUP_POLICY = "cleanup.policy"
_TIMESTAMP_TYPE = "message.timestamp.type"
_MIN_INSYNC = "min.insync.replicas"
_KEYS = (MAX_MESSAGE_BYTES, COMPRESSION_TYPE, _CLEANUP_POLICY, _TIMESTAMP_TYPE, BEFORE, AFTER, DIFFERENCE, _MIN_INSYNC)
_AT_ONCE = 200
_BROKER_DEFAULT_BYTES = 1_048_588
_ANY_TIME = 2**63 - 1


class TopicLimits(NamedTuple):
    """`max_message_bytes` bounds a batch with its header, as compressed; `compacted`: every record needs a key; `ours`: this task made the
    topic. Records may be at most `before_ms` older and `after_ms` younger than the broker's clock. `min_insync`: with fewer replicas in
    sync nothing is taken, not even the end of a transaction."""

    max_message_bytes: int
    compression_type: str
    compacted: bool
    log_append_time: bool
    ours: bool
    before_ms: int = _ANY_TIME
    after_ms: int = _ANY_TIME
    min_insync: int = 1

    @property
    def unfit(self) -> str | None:
        """Why batches may be split or recompressed there, None: they are not."""
        if self.max_message_bytes < LEAST_MESSAGE_BYTES:
            return f"{MAX_MESSAGE_BYTES} is {self.max_message_bytes}, less than {LEAST_MESSAGE_BYTES}: larger batches are split"
        if self.compression_type != "producer":
            return f"{COMPRESSION_TYPE} is {self.compression_type}, not producer: the broker recompresses batches of other codecs"
        return None


UNKNOWN = TopicLimits(_BROKER_DEFAULT_BYTES, "producer", compacted=False, log_append_time=False, ours=False)
"""What is assumed of a topic until it is read."""


@dataclass(slots=True)
class _Known:
    limits: TopicLimits
    topic_id: UUID | None
    read_at: float


class LimitsReader:
    """One for a unit. `mark`: `topic_configs.mark_of` this task and direction; limits are read again after `max_age_s`."""

    def __init__(self, target: Cluster, mark: str, max_age_s: float) -> None:
        self._target, self._mark, self._max_age_s = target, mark, max_age_s
        self._known: dict[str, _Known] = {}

    async def read(self, topics: Mapping[str, UUID | None]) -> dict[str, TopicLimits | Refused]:
        """Limits of these target topics (by name, with their ids). A refusal only where nothing is known of the topic yet."""
        now = self._target.clock()
        for name in self._known.keys() - topics.keys():
            del self._known[name]
        due = [name for name, topic_id in topics.items() if self._is_due(name, topic_id, now)]
        refused: dict[str, Refused] = {}
        for start in range(0, len(due), _AT_ONCE):
            resources = [Resource(ResourceKind.TOPIC, name) for name in due[start : start + _AT_ONCE]]
            for (_, name), found in (await describe_configs(self._target, resources, _KEYS)).items():
                if isinstance(found, Refused):
                    refused[name] = found
                else:
                    self._known[name] = _Known(_limits(found, self._mark), topics[name], now)
        return {name: known.limits for name, known in self._known.items()} | {
            name: why for name, why in refused.items() if name not in self._known
        }

    def forget(self, topic: str) -> None:
        """Read the topic's limits again at the next opportunity."""
        self._known.pop(topic, None)

    def _is_due(self, name: str, topic_id: UUID | None, now: float) -> bool:
        known = self._known.get(name)
        if known is not None and known.topic_id != topic_id:
            del self._known[name]
            return True
        return known is None or now - known.read_at >= self._max_age_s


async def raise_max_message_bytes(target: Cluster, topic: str, nbytes: int) -> Refused | None:
    """Let batches of `nbytes` into a topic that we made. Its limits are to be forgotten afterwards (`TopicView.forget_limits`)."""
    resource = Resource(ResourceKind.TOPIC, topic)
    return (await incremental_alter_configs(target, {resource: {MAX_MESSAGE_BYTES: str(nbytes)}}))[resource]


def _limits(configs: Mapping[str, ConfigValue], mark: str) -> TopicLimits:
    def value(name: str, default: str) -> str:
        found = configs.get(name)
        return default if found is None or found.value is None else found.value

    return TopicLimits(
        max_message_bytes=int(value(MAX_MESSAGE_BYTES, str(_BROKER_DEFAULT_BYTES))),
        compression_type=value(COMPRESSION_TYPE, "producer"),
        compacted="compact" in (policy.strip() for policy in value(_CLEANUP_POLICY, "delete").split(",")),
        log_append_time=value(_TIMESTAMP_TYPE, "CreateTime") == "LogAppendTime",
        ours=has_mark(configs, mark),
        before_ms=int(value(BEFORE, value(DIFFERENCE, str(_ANY_TIME)))),
        after_ms=int(value(AFTER, value(DIFFERENCE, str(_ANY_TIME)))),
        min_insync=int(value(_MIN_INSYNC, "1")),
    )
