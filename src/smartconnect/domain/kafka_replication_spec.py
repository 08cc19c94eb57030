"""The specification of a Kafka replication: what `source_task` and `options` mean once validated (api.md §4.2,
kafka-replication.md §1, §13).

"Source" is where a direction reads and "target" where it writes; "current" is the instance of the task, "peer" the other cluster."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.secret import Secret


class Direction(enum.StrEnum):
    """One way that data flows; also the prefix of its units."""

    PULL = "pull"
    PUSH = "push"


class Delivery(enum.StrEnum):
    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class OnRejectedRecord(enum.StrEnum):
    STOP = "stop"
    SKIP = "skip"
    CLAMP = "clamp"


class Timestamps(enum.StrEnum):
    """Of a LogAppendTime batch: the append time that its readers see, or the producers' own."""

    SEEN = "seen"
    PRODUCER = "producer"


@dataclass(frozen=True, slots=True)
class ReplicationOptions:
    """Settings of `[kafka_replication]` that one task may override. Patterns are RE2, matched against whole names."""

    delivery: Delivery = Delivery.EXACTLY_ONCE
    commit_min_ms: int = 20
    commit_interval_ms: int = 200
    transaction_timeout_ms: int = 30_000
    refresh_interval_s: float = 10
    config_sync_interval_s: float = 60
    group_sync_interval_s: float = 10
    groups_include: str = ".*"
    groups_exclude: str = "console-consumer-.*,connect-.*,__.*"
    sync_topic_configs: bool = False
    on_gap: OnGap = OnGap.CONTINUE
    on_rejected_record: OnRejectedRecord = OnRejectedRecord.STOP
    timestamps: Timestamps = Timestamps.SEEN
    produce_connections: int = 2
    mm2_topics: bool = False
    heartbeats: bool = False
    drain_timeout_s: float = 10


@dataclass(frozen=True, slots=True)
class Peer:
    """How the other cluster is reached: a configured instance, or addresses with what the request says."""

    instance_id: str | None
    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str
    user_name: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ReplicationSpec:
    """One validated replication. `topics` has the names given, or the left sides of `mapping` when neither they nor a pattern were;
    `compression` is None where batches keep their codec; `replication_factor` None: min(3, brokers)."""

    topics: tuple[str, ...]
    topics_regex: str | None
    directions: tuple[Direction, ...]
    peer: Peer
    current_alias: str
    peer_alias: str
    task_num: int
    strategy: ConsumerStrategy
    replication_factor: int | None = None
    rename: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)
    provenance_header: bool = False
    sync_offsets: bool = False
    compression: str | None = None
    options: ReplicationOptions = field(default_factory=ReplicationOptions)

    def aliases(self, direction: Direction) -> tuple[str, str]:
        """(source's, target's) alias in this direction."""
        pulls = direction is Direction.PULL
        return (self.peer_alias, self.current_alias) if pulls else (self.current_alias, self.peer_alias)
