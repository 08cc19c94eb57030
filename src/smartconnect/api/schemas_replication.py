"""The fields of a Kafka replication in requests and answers, for the OpenAPI document (api.md §4.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smartconnect.api.schemas_common import Absent, LongText, NonEmpty, Sent, Strategy

Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")]
Protocol = Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Direction = Literal["pull", "push", "two-way"]
Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]


class ReplicationSourceFields(Sent):
    """`source_task` of a Kafka replication: the peer, named by `instance_id` or `bootstrap_servers`, and what is copied."""

    instance_id: Annotated[str, Field(max_length=256)] | None = Field(default=None, description="A configured instance.")
    bootstrap_servers: LongText | None = Field(default=None, description="host:port,…")
    security_protocol: Protocol | Absent = Field(
        default=None, description="Absent: the instance's; of a peer by addresses SASL_SSL with a user_name, PLAINTEXT without."
    )
    sasl_mechanism: Mechanism | Absent = Field(default=None, description="Absent: the instance's, else PLAIN.")
    user_name: Annotated[str, Field(max_length=256)] | None = None
    password: LongText | None = Field(default=None, description="Never returned.")
    current_cluster_name: Alias | Absent = Field(default=None, description="Absent: made of the instance's name or id.")
    cluster_name: Alias | Absent = Field(default=None, description="Absent: made of the peer's name, id or cluster id.")
    task_num: Annotated[int, Field(ge=1, le=64)] | Absent = Field(default=None, description="Units of each direction.")
    consumer_strategy: Strategy | Absent = None
    replication_factor: Annotated[int, Field(ge=1, le=32767)] | Absent = None
    rename_topic_enabled: bool | Absent = Field(default=None, description="Excludes topics_mapping.")
    topics_mapping: LongText | None = Field(default=None, description="source:target,… at most 20 pairs.")
    provenance_header_enabled: bool | Absent = None
    sync_consumer_offsets_enabled: bool | Absent = None
    compression_type: Codec | Absent = Field(default=None, description="Absent: batches keep their codec.")


class ReplicationSource(ReplicationSourceFields):
    """`source_task` of a Kafka replication, as a new task needs it."""

    direction: Direction


class ReplicationSourceChange(ReplicationSourceFields):
    """`source_task` of a modification or a check of the connection: absent fields are kept, or not needed."""

    direction: Direction | Absent = None


class ReplicationOptions(BaseModel):
    """Settings of `[kafka_replication]` for this task alone; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")

    delivery: Literal["exactly_once", "at_least_once"] | Absent = None
    commit_min_ms: Annotated[int, Field(ge=0, le=60_000)] | Absent = None
    commit_interval_ms: Annotated[int, Field(ge=1, le=60_000)] | Absent = None
    transaction_timeout_ms: Annotated[int, Field(ge=1000, le=900_000)] | Absent = None
    refresh_interval_s: Annotated[float, Field(ge=0.2, le=3600)] | Absent = None
    config_sync_interval_s: Annotated[float, Field(ge=0.2, le=86_400)] | Absent = None
    group_sync_interval_s: Annotated[float, Field(ge=0.2, le=86_400)] | Absent = None
    groups_include: NonEmpty | Absent = Field(default=None, description="Comma list of RE2 patterns.")
    groups_exclude: LongText | None = Field(default=None, description="Comma list of RE2 patterns; '': none.")
    sync_topic_configs: bool | Absent = None
    on_gap: Literal["continue", "stop"] | Absent = None
    on_rejected_record: Literal["stop", "skip", "clamp"] | Absent = None
    timestamps: Literal["seen", "producer"] | Absent = None
    produce_connections: Annotated[int, Field(ge=1, le=4)] | Absent = None
    mm2_topics: bool | Absent = None
    heartbeats: bool | Absent = None
    drain_timeout_s: Annotated[float, Field(ge=0, le=600)] | Absent = None


class ReplicationSourceShown(BaseModel):
    """`source_task` as returned: defaults filled in, the password left out, id and addresses of the peer both."""

    model_config = ConfigDict(extra="forbid")

    instance_id: str
    bootstrap_servers: str
    security_protocol: Protocol
    sasl_mechanism: Mechanism
    user_name: str
    current_cluster_name: str
    cluster_name: str
    direction: Direction
    task_num: int
    consumer_strategy: Strategy
    replication_factor: Annotated[int | None, Field(description="null: no target has told yet how many brokers it has.")]
    rename_topic_enabled: bool
    topics_mapping: str
    provenance_header_enabled: bool
    sync_consumer_offsets_enabled: bool
    compression_type: Codec | Literal[""]
