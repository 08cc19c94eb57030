"""The shapes of requests and answers for the OpenAPI document (api.md §4, §6, §8). Nothing is validated or serialised through them: the
field tables of control and of the jobs decide, `wire.py` writes, and tests hold both against these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from smartconnect.api.schemas_common import Absent, Answer, LongText, NonEmpty, Pattern, Sent, Status, Strategy, TaskName
from smartconnect.api.schemas_replication import (
    ReplicationOptions,
    ReplicationSource,
    ReplicationSourceChange,
    ReplicationSourceShown,
)

Bucket = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{3,63}$")]
ObsPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_/-]*$", max_length=64)]
TimeFormat = Literal["yyyy", "yyyy/MM", "yyyy/MM/dd", "yyyy/MM/dd/HH", "yyyy/MM/dd/HH/mm", "N/A", ""]
Delimiter = Literal[",", ";", "|", "\n", "\\n", "NULL", ""]


class ObsSinkFields(Sent):
    """`sink_task` of an OBS dump."""

    agency_name: LongText | None = Field(default=None, description="Echoed; does not replace the keys.")
    obs_path: ObsPath | None = Field(default=None, description="No empty inner segment; outer slashes do not count.")
    consumer_strategy: Strategy | Absent = None
    destination_file_type: Literal["TEXT"] | Absent = None
    deliver_time_interval: Annotated[int, Field(ge=30, le=900)] | Absent = Field(default=None, description="Seconds.")
    partition_format: TimeFormat | None = Field(default=None, description="'' or N/A: no time directory.")
    record_delimiter: Delimiter | None = Field(default=None, description="Absent: a newline. NULL or '': none.")
    store_keys: bool | Absent = None
    obs_part_size: Annotated[int, Field(ge=5_242_880, le=104_857_600)] | Absent = None
    flush_size: Annotated[int, Field(ge=1, le=2_147_483_647)] | Absent = None
    timezone: Annotated[str, Field(max_length=64)] | None = Field(default=None, description="IANA name.")
    kv_delimiter: Annotated[str, Field(max_length=16)] | None = None
    task_num: Annotated[int, Field(ge=1, le=64)] | Absent = None


class ObsSink(ObsSinkFields):
    """`sink_task` of an OBS dump, as a new task needs it."""

    access_key: NonEmpty
    secret_key: NonEmpty
    obs_bucket_name: Bucket


class ObsSinkChange(ObsSinkFields):
    """`sink_task` of a modification: absent fields are kept."""

    access_key: NonEmpty | None = Field(default=None, description="Comes together with secret_key.")
    secret_key: NonEmpty | None = None
    obs_bucket_name: Bucket | None = None


class DumpOptions(BaseModel):
    """Settings of `[obs_dump]` for this task alone; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")

    commit_interval_ms: Annotated[int, Field(ge=10, le=60_000)] | Absent = None
    refresh_interval_s: Annotated[float, Field(ge=0.2, le=3600)] | Absent = None
    max_object_bytes: Annotated[int, Field(ge=1024)] | Absent = None
    jitter: Annotated[float, Field(ge=0, le=0.5)] | Absent = None
    drain_timeout_s: Annotated[float, Field(ge=0, le=600)] | Absent = None
    part_integrity: Literal["auto", "crc32c", "md5", "none"] | Absent = None
    on_lost_upload: Literal["redeliver", "skip"] | Absent = None
    on_gap: Literal["continue", "stop"] | Absent = None
    janitor_min_age_s: Annotated[int, Field(ge=0)] | Absent = None


class CreateDump(Sent):
    """An OBS dump. Exactly one of `topics`, `topics_regex`."""

    task_name: TaskName
    start_later: bool | Absent = Field(default=None, description="true: created WAITING, started by restart.")
    topics: LongText | None = Field(default=None, description="Comma list of at most 20 names.")
    topics_regex: Pattern | None = Field(default=None, description="Matches the whole name (RE2).")
    source_type: Literal["NONE"] | Absent = None
    source_task: dict[str, Any] | Absent = None
    sink_type: Literal["OBS_SINK"]
    sink_task: ObsSink
    options: DumpOptions | Absent = None


class CreateReplication(Sent):
    """A Kafka replication. One of `topics`, `topics_regex`, or `topics_mapping` alone."""

    task_name: TaskName
    start_later: bool | Absent = Field(default=None, description="true: created WAITING, started by restart.")
    topics: LongText | None = Field(default=None, description="Comma list of at most 20 names.")
    topics_regex: Pattern | None = Field(default=None, description="Matches the whole name (RE2).")
    source_type: Literal["KAFKA_REPLICATOR_SOURCE"]
    source_task: ReplicationSource
    sink_type: Literal["NONE"] | Absent = None
    sink_task: dict[str, Any] | Absent = None
    options: ReplicationOptions | Absent = None


class CreateTask(RootModel[CreateDump | CreateReplication]):
    """By its pair of types."""


class ModifyTask(Sent):
    """Absent fields are kept, "" clears; the rules of creation apply to the result. The side that a kind does not use is ignored."""

    task_name: TaskName | Absent = None
    topics: LongText | None = None
    topics_regex: Pattern | None = None
    source_type: Literal["NONE", "KAFKA_REPLICATOR_SOURCE"] | Absent = None
    source_task: ReplicationSourceChange | dict[str, Any] | Absent = None
    sink_type: Literal["NONE", "OBS_SINK"] | Absent = None
    sink_task: ObsSinkChange | Absent = None
    options: DumpOptions | ReplicationOptions | Absent = None
    restart: bool | Absent = Field(default=None, description="true: the change begins a new run.")


class ValidateDump(Sent):
    """Fields of the sink, secrets included."""

    type: Literal["OBS_SINK"] | Absent = Field(default=None, description="Absent: by the fields of `task`.")
    task: ObsSink


class ValidateReplication(Sent):
    """Fields of the source, the password included; what names the peer is enough."""

    type: Literal["KAFKA_REPLICATOR_SOURCE"] | Absent = Field(default=None, description="Absent: by the fields of `task`.")
    task: ReplicationSourceChange


class Validate(RootModel[ValidateDump | ValidateReplication]):
    """By `type`."""


class Enable(Sent):
    """May be absent altogether."""

    node_cnt: Annotated[int, Field(ge=2, le=16)] | Annotated[str, Field(pattern="^0?([2-9]|1[0-6])$")] | Absent = None


class ObsSinkShown(BaseModel):
    """`sink_task` as returned: defaults filled in, secrets left out. `agency_name` is there when it was sent."""

    model_config = ConfigDict(extra="allow")

    obs_bucket_name: str
    obs_path: str
    consumer_strategy: Strategy
    destination_file_type: Literal["TEXT"]
    deliver_time_interval: int
    partition_format: TimeFormat
    record_delimiter: Delimiter
    store_keys: bool
    obs_part_size: int
    flush_size: int
    timezone: str
    kv_delimiter: str
    task_num: int
    schema_generator_class: str
    partitioner_class: str
    value_converter: str
    key_converter: str


class DumpTask(BaseModel):
    """`topics` or `topics_regex`: the other is left out. `options`: when they were sent."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"oneOf": [{"required": ["topics"]}, {"required": ["topics_regex"]}]}
    )

    task_name: TaskName
    topics: Annotated[str, Field(default_factory=str)]
    topics_regex: Annotated[str, Field(default_factory=str)]
    source_type: Literal["NONE"]
    source_task: dict[str, Any]
    sink_type: Literal["OBS_SINK"]
    sink_task: ObsSinkShown
    options: Annotated[dict[str, Any], Field(default_factory=dict)]
    id: str
    status: Status
    create_time: Annotated[int, Field(description="Epoch ms.")]


class ReplicationTask(BaseModel):
    """`topics` or `topics_regex`, or neither: then the sources of `topics_mapping` are the topics. `options`: when they were sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"not": {"required": ["topics", "topics_regex"]}})

    task_name: TaskName
    topics: Annotated[str, Field(default_factory=str)]
    topics_regex: Annotated[str, Field(default_factory=str)]
    source_type: Literal["KAFKA_REPLICATOR_SOURCE"]
    source_task: ReplicationSourceShown
    sink_type: Literal["NONE"]
    sink_task: dict[str, Any]
    options: Annotated[dict[str, Any], Field(default_factory=dict)]
    id: str
    status: Status
    create_time: Annotated[int, Field(description="Epoch ms.")]


class Task(RootModel[DumpTask | ReplicationTask]):
    """By its pair of types."""


class TaskList(Answer):
    """In order of create_time, id."""

    tasks: list[Task]
    total_number: int
    max_tasks: int
    quota_tasks: int


class Enabled(Answer):
    job_id: str
    connector_id: str


class Disabled(Answer):
    job_id: str


class ResourceInfo(Answer):
    sold_out: Annotated[bool, Field(alias="soldOut")]


class Validated(Answer):
    """Everything holds: {}."""


class Instance(Answer):
    """What settings and registry know of an instance."""

    instance_id: str
    name: str
    engine: Literal["kafka"]
    status: Literal["RUNNING"]
    connect_address: str
    port: int
    ssl_enable: bool
    kafka_security_protocol: str
    sasl_enabled_mechanisms: list[str]
    connector_enable: bool
    connector_id: str
    connector_node_num: int


class FieldError(Answer):
    field: str
    reason: str


class Error(Answer):
    """`errors` is there when fields are named."""

    error_code: str
    error_msg: str
    request_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    errors: Annotated[list[FieldError], Field(default_factory=list)]


class Ready(Answer):
    status: Literal["ready", "not ready"]
    problems: list[str]


class Alive(Answer):
    status: Literal["alive"]
    version: str
