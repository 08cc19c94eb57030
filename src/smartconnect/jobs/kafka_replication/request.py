"""What a request for a Kafka replication may say (api.md §4.2, kafka-replication.md §13, §16): `parse` reads it field by field and reports
every problem; `to_spec` turns a stored configuration, already validated, into the typed specification that the units run by. Pure, no
I/O. Called by the job object, for control and for the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Final

from smartconnect.domain.errors import SettingsInvalid
from smartconnect.domain.fields import Flag, Reading, Real, Text, Unfit, Whole, read_object
from smartconnect.domain.kafka_replication_spec import (
    Delivery,
    Direction,
    OnRejectedRecord,
    Peer,
    ReplicationOptions,
    ReplicationSpec,
    Timestamps,
)
from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.problems import Problem
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import TaskConfig
from smartconnect.domain.topics import split_topics
from smartconnect.engine.job import ParsedRequest
from smartconnect.jobs.kafka_replication import request_rules as rules
from smartconnect.jobs.kafka_replication.group_selection import group_patterns
from smartconnect.jobs.kafka_replication.peers import Find, address_set, alias_of, apart_from, peer_of
from smartconnect.jobs.kafka_replication.topics_mapping import split_mapping
from smartconnect.jobs.topic_pattern import MAX_PATTERN
from smartconnect.kafka.security import MECHANISMS, PROTOCOLS
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings

SOURCE_TYPE: Final = "KAFKA_REPLICATOR_SOURCE"
TWO_WAY: Final = "two-way"
DIRECTIONS: Mapping[str, tuple[Direction, ...]] = {
    "pull": (Direction.PULL,),
    "push": (Direction.PUSH,),
    TWO_WAY: (Direction.PULL, Direction.PUSH),
}
CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")

DEFAULTS: Mapping[str, object] = {
    "task_num": 2,
    "consumer_strategy": "latest",
    "rename_topic_enabled": False,
    "topics_mapping": "",
    "provenance_header_enabled": False,
    "sync_consumer_offsets_enabled": False,
    "compression_type": "",
}

RESOLVED_IDS: Final = ("current_cluster_id", "peer_cluster_id")
"""Kept with the configuration by `resolving`, to know the clusters again; never shown, ignored in requests."""

_ALIAS = {"pattern": re.compile(r"[A-Za-z0-9_-]{1,20}"), "form": '1–20 of letters, digits, "_", "-"'}

TOPIC_FIELDS = (Text("topics"), Text("topics_regex", max_length=MAX_PATTERN))

SOURCE_FIELDS = (
    Text("instance_id", max_length=256),
    Text("bootstrap_servers"),
    Text("security_protocol", choices=PROTOCOLS),
    Text("sasl_mechanism", choices=MECHANISMS),
    Text("user_name", max_length=256),
    Text("password", secret=True),
    Text("current_cluster_name", **_ALIAS),  # type: ignore[arg-type]
    Text("cluster_name", **_ALIAS),  # type: ignore[arg-type]
    Text("direction", required=True, choices=tuple(DIRECTIONS)),
    Whole("task_num", 1, 64),
    Text("consumer_strategy", choices=tuple(ConsumerStrategy)),
    Whole("replication_factor", 1, 32_767),
    Flag("rename_topic_enabled"),
    Text("topics_mapping"),
    Flag("provenance_header_enabled"),
    Flag("sync_consumer_offsets_enabled"),
    Text("compression_type", choices=CODECS),
)

OPTION_FIELDS = (
    Text("delivery", choices=tuple(Delivery)),
    Whole("commit_min_ms", 0, 60_000),
    Whole("commit_interval_ms", 1, 60_000),
    Whole("transaction_timeout_ms", 1_000, 900_000),
    Real("refresh_interval_s", 0.2, 3600),
    Real("config_sync_interval_s", 0.2, 86_400),
    Real("group_sync_interval_s", 0.2, 86_400),
    Text("groups_include"),
    Text("groups_exclude", empty=True),
    Flag("sync_topic_configs"),
    Text("on_gap", choices=tuple(OnGap)),
    Text("on_rejected_record", choices=tuple(OnRejectedRecord)),
    Text("timestamps", choices=tuple(Timestamps)),
    Whole("produce_connections", 1, 4),
    Flag("mm2_topics"),
    Flag("heartbeats"),
    Real("drain_timeout_s", 0, 600),
)
PER_WORKER = frozenset(KafkaReplicationSettings.model_fields) - {field.name for field in OPTION_FIELDS}


def parse(
    body: Mapping[str, object],
    current: InstanceSettings | None,
    find: Find,
    *,
    allowed_targets: Sequence[str] = (),
    partial: bool = False,
) -> ParsedRequest:
    """Read the kind's fields of a create request, or of a modify request merged with what is stored. Never raises for bad input. The
    other side (`sink_task`) is ignored, its fields named in `ignored`. `current`: the instance of the task; an instance of another
    project is as unknown as one that is not configured. `allowed_targets`: of the settings. `partial`: what a live check does not
    need may be missing."""
    top = read_object("", {name: body.get(name) for name in ("topics", "topics_regex")}, TOPIC_FIELDS)
    table = tuple(replace(field, required=False) for field in SOURCE_FIELDS) if partial else SOURCE_FIELDS
    source = read_object("source_task", _renamed_field(body.get("source_task")), table, known=RESOLVED_IDS)
    options = _read_options(body.get("options"))
    sink = read_object("sink_task", body.get("sink_task"), ())
    instance = _peer_instance(source, current, find)
    problems = [
        *top.problems,
        *source.problems,
        *rules.topic_problems(top, source),
        *rules.peer_problems(source, instance, allowed_targets),
        *rules.naming_problems(top, source, TWO_WAY),
        *rules.same_instance_problems(top, source, current),
        *options.problems,
        *sink.problems,
    ]
    config = TaskConfig(
        topics=top.text("topics"),
        topics_regex=top.text("topics_regex"),
        source_type=SOURCE_TYPE,
        source_task=_completed(_without_repetition(source, instance), current, instance),
        options=None if body.get("options") in (None, "") else options.values,
    )
    return ParsedRequest(config, source.secrets, problems, [*source.ignored, *sink.ignored])


def _renamed_field(raw: object) -> object:
    """SDK 3.1.84–3.1.87 sends `rename_topic_enable` (api.md §2)."""
    if not isinstance(raw, Mapping) or "rename_topic_enable" not in raw:
        return raw
    rest = {name: value for name, value in raw.items() if name != "rename_topic_enable"}
    return {"rename_topic_enabled": raw["rename_topic_enable"], **rest}


def _peer_instance(source: Reading, current: InstanceSettings | None, find: Find) -> InstanceSettings | None:
    instance = find(source.text("instance_id") or "")
    same_project = instance is not None and current is not None and instance.project_id == current.project_id
    return instance if same_project else None


def _without_repetition(source: Reading, instance: InstanceSettings | None) -> dict[str, object]:
    """The values without what only repeats the instance's settings, as a shown task does when it is sent back: those may change."""
    values = dict(source.values)
    if instance is None:
        return values
    if address_set(str(values.get("bootstrap_servers", ""))) == address_set(instance.bootstrap_servers):
        values.pop("bootstrap_servers", None)
    own: dict[str, object] = {"security_protocol": instance.security_protocol, "sasl_mechanism": instance.sasl_mechanism}
    if not source.secrets:
        own["user_name"] = instance.user_name
    return {name: value for name, value in values.items() if own.get(name) != value}


def _completed(
    values: dict[str, object], current: InstanceSettings | None, instance: InstanceSettings | None
) -> Mapping[str, object]:
    """With the aliases that can be told without asking a cluster (kafka-replication.md §1)."""
    given = str(values.get("cluster_name", ""))
    if "current_cluster_name" not in values and current is not None:
        values["current_cluster_name"] = apart_from(alias_of(current.name or current.id), given)
    if not given and instance is not None:
        mine = str(values.get("current_cluster_name", ""))
        values["cluster_name"] = apart_from(alias_of(instance.name or instance.id), mine)
    return values


def _read_options(raw: object) -> Reading:
    reading = read_object("options", raw, OPTION_FIELDS)
    for name in reading.ignored:
        per_worker = name.removeprefix("options.") in PER_WORKER
        reading.problems.append(
            Problem(name, "is a setting of the service, not of a task" if per_worker else "is no option of this kind")
        )
    for name in ("groups_include", "groups_exclude"):
        try:
            group_patterns(reading.text(name) or "")
        except Unfit as unfit:
            reading.problems.append(Problem(f"options.{name}", str(unfit)))
    return reading


def default_options(settings: KafkaReplicationSettings) -> ReplicationOptions:
    """The service's own `[kafka_replication]` defaults, of what a task may override. SettingsInvalid for patterns that are none."""
    for name in ("groups_include", "groups_exclude"):
        try:
            group_patterns(getattr(settings, name))
        except Unfit as unfit:
            raise SettingsInvalid(f"kafka_replication.{name}: {unfit}") from None
    return ReplicationOptions(**{field.name: getattr(settings, field.name) for field in fields(ReplicationOptions)})


def options_of(config: TaskConfig, defaults: ReplicationOptions) -> ReplicationOptions:
    """The service's defaults under the task's own options."""
    if not config.options:
        return defaults
    merged: dict[str, Any] = {**asdict(defaults), **config.options}
    merged |= {
        "delivery": Delivery(merged["delivery"]),
        "on_gap": OnGap(merged["on_gap"]),
        "on_rejected_record": OnRejectedRecord(merged["on_rejected_record"]),
        "timestamps": Timestamps(merged["timestamps"]),
    }
    return ReplicationOptions(**merged)


def to_spec(config: TaskConfig, secrets: Mapping[str, Secret], find: Find, defaults: ReplicationOptions) -> ReplicationSpec:
    """The specification of a configuration that `parse` accepted. `secrets` by full field name, as `parse` gave them. At validate it may
    have no topics and no direction. ClusterUnreachable if the peer is an instance that is not in the settings any more."""
    return spec_with(config, peer_of(config, secrets, find), options_of(config, defaults))


def spec_with(config: TaskConfig, peer: Peer, options: ReplicationOptions) -> ReplicationSpec:
    """As `to_spec`, for what needs only names and numbers of a configuration, not the way to the peer."""
    values = {**DEFAULTS, **config.source_task}
    mapping = split_mapping(str(values["topics_mapping"]))
    named = split_topics(config.topics) if config.topics else ()
    replicas = values.get("replication_factor")
    return ReplicationSpec(
        topics=named or (() if config.topics_regex else tuple(mapping)),
        topics_regex=config.topics_regex,
        directions=directions_of(config),
        peer=peer,
        current_alias=str(values.get("current_cluster_name", "")),
        peer_alias=str(values.get("cluster_name", "")),
        task_num=units_of(config),
        strategy=ConsumerStrategy(str(values["consumer_strategy"])),
        replication_factor=None if replicas is None else _number(replicas),
        rename=values["rename_topic_enabled"] is True,
        mapping=mapping,
        provenance_header=values["provenance_header_enabled"] is True,
        sync_offsets=values["sync_consumer_offsets_enabled"] is True,
        compression=str(values["compression_type"]) or None,
        options=options,
    )


def directions_of(config: TaskConfig) -> tuple[Direction, ...]:
    """Of a validated configuration; none where it has no `direction` (validate)."""
    return DIRECTIONS.get(str(config.source_task.get("direction", "")), ())


def units_of(config: TaskConfig) -> int:
    """`task_num` of a validated configuration: units of each direction."""
    return _number({**DEFAULTS, **config.source_task}["task_num"])


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a validated number is no integer but {type(value).__name__}")
    return value
