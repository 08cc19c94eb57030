"""What a request for an OBS dump may say (api.md §4.1, obs-dump.md §11, §13): `parse` reads it field by field and reports every
problem; `to_spec` turns a stored configuration, already validated, into the typed specification that the dump runs by. Pure, no I/O.
Called by the job object, for control and for the engine.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from smartconnect.domain.fields import Flag, Reading, Real, Text, Unfit, Whole, full_name, quoted, read_object
from smartconnect.domain.obs_dump_spec import ObsDumpOptions, ObsDumpSpec, OnLostUpload
from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import TaskConfig
from smartconnect.domain.topics import internal_names, split_topics, topic_list_reasons
from smartconnect.engine.job import ParsedRequest
from smartconnect.jobs.topic_pattern import MAX_PATTERN, compile_pattern
from smartconnect.settings import ObsDumpSettings

MIB = 1 << 20
MAX_PARTS = 10_000
MAX_INT64 = (1 << 63) - 1
TIME_FORMATS = ("yyyy", "yyyy/MM", "yyyy/MM/dd", "yyyy/MM/dd/HH", "yyyy/MM/dd/HH/mm")
NO_TIME_DIRECTORY = ("N/A", "")
NO_DELIMITER = ("NULL", "")
DELIMITERS: Mapping[str, bytes] = {",": b",", ";": b";", "|": b"|", "\n": b"\n", "\\n": b"\n", "NULL": b"", "": b""}
"""Newline may come as 0x0A or as the two characters that the published example sends."""

DEFAULTS: Mapping[str, object] = {
    "consumer_strategy": "latest",
    "destination_file_type": "TEXT",
    "deliver_time_interval": 300,
    "obs_path": "",
    "partition_format": "yyyy/MM/dd/HH/mm",
    "record_delimiter": "\n",
    "store_keys": False,
    "obs_part_size": 5 * MIB,
    "flush_size": 1_000_000,
    "timezone": "Asia/Chongqing",
    "kv_delimiter": ":",
    "task_num": 2,
}

RESPONSE_CONSTANTS: Mapping[str, str] = {
    "schema_generator_class": "io.confluent.connect.storage.hive.schema.DefaultSchemaGenerator",
    "partitioner_class": "io.confluent.connect.storage.partitioner.TimeBasedPartitioner",
    "value_converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
    "key_converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
}
"""Shown, and accepted in silence when a shown task is sent back."""

TOPIC_FIELDS = (Text("topics"), Text("topics_regex", max_length=MAX_PATTERN))

SINK_FIELDS = (
    Text("access_key", required=True, secret=True),
    Text("secret_key", required=True, secret=True),
    Text("agency_name"),
    Text(
        "obs_bucket_name",
        required=True,
        pattern=re.compile(r"[A-Za-z0-9._-]{3,63}"),
        form='3–63 of letters, digits, ".", "_", "-"',
    ),
    Text("obs_path", max_length=64, pattern=re.compile(r"[A-Za-z0-9_/-]*"), form='of letters, digits, "_", "-", "/"'),
    Text("consumer_strategy", choices=("latest", "earliest")),
    Text("destination_file_type", choices=("TEXT",)),
    Whole("deliver_time_interval", 30, 900),
    Text("partition_format", empty=True, choices=(*TIME_FORMATS, *NO_TIME_DIRECTORY)),
    Text("record_delimiter", empty=True, choices=tuple(DELIMITERS)),
    Flag("store_keys"),
    Whole("obs_part_size", 5 * MIB, 100 * MIB),
    Whole("flush_size", 1, (1 << 31) - 1),
    Text("timezone", max_length=64),
    Text("kv_delimiter", empty=True, max_length=16),
    Whole("task_num", 1, 64),
)

OPTION_FIELDS = (
    Whole("commit_interval_ms", 10, 60_000),
    Real("refresh_interval_s", 0.2, 3600),
    Whole("max_object_bytes", 1024, MAX_INT64),
    Real("jitter", 0, 0.5),
    Real("drain_timeout_s", 0, 600),
    Text("part_integrity", choices=("auto", "crc32c", "md5", "none")),
    Text("on_lost_upload", choices=tuple(OnLostUpload)),
    Text("on_gap", choices=tuple(OnGap)),
    Whole("janitor_min_age_s", 0, MAX_INT64),
)
PER_WORKER = frozenset(ObsDumpSettings.model_fields) - {field.name for field in OPTION_FIELDS}


def parse(body: Mapping[str, object]) -> ParsedRequest:
    """Read the kind's fields of a create request, or of a modify request merged with what is stored. Never raises for bad input.
    The other side (`source_task`) is ignored, its fields named in `ignored`."""
    topics = read_object("", {name: body.get(name) for name in ("topics", "topics_regex")}, TOPIC_FIELDS)
    sink = read_object("sink_task", body.get("sink_task"), SINK_FIELDS, known=RESPONSE_CONSTANTS)
    options = _read_options(body.get("options"))
    source = read_object("source_task", body.get("source_task"), ())
    problems = [
        *topics.problems,
        *_topic_problems(topics),
        *sink.problems,
        *_sink_problems(sink),
        *options.problems,
        *source.problems,
    ]
    if not problems:
        problems += _between_problems(sink, options)
    config = TaskConfig(
        topics=topics.text("topics"),
        topics_regex=topics.text("topics_regex"),
        sink_type="OBS_SINK",
        sink_task=sink.values,
        options=None if body.get("options") in (None, "") else options.values,
    )
    return ParsedRequest(config=config, secrets=sink.secrets, problems=problems, ignored=[*sink.ignored, *source.ignored])


def _topic_problems(reading: Reading) -> list[Problem]:
    topics, pattern = reading.text("topics"), reading.text("topics_regex")
    if topics is not None and pattern is not None:
        return [Problem("topics_regex", "excludes topics: give exactly one of the two")]
    if topics is None and pattern is None:
        return [] if reading.problems else [Problem("topics", "is required, or topics_regex")]
    if topics is not None:
        problems = [Problem("topics", reason) for reason in topic_list_reasons(topics)]
        internal = internal_names(split_topics(topics))
        if internal:
            problems.append(
                Problem("topics", f'{quoted(internal[0])} is internal to Kafka: names that start with "__" are not dumped')
            )
        return problems
    try:
        compile_pattern(pattern or "")
    except Unfit as unfit:
        return [Problem("topics_regex", str(unfit))]
    return []


def _sink_problems(sink: Reading) -> list[Problem]:
    problems = []
    path = sink.text("obs_path")
    if path is not None and "//" in path.strip("/"):
        problems.append(Problem("sink_task.obs_path", f"must have no empty segment between slashes, not {quoted(path)}"))
    timezone = sink.text("timezone")
    if timezone is not None and not _is_timezone(timezone):
        problems.append(Problem("sink_task.timezone", f"must be an IANA time zone like Europe/Berlin, not {quoted(timezone)}"))
    return problems


def _is_timezone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _read_options(raw: object) -> Reading:
    reading = read_object("options", raw, OPTION_FIELDS)
    for name in reading.ignored:
        per_worker = name.removeprefix("options.") in PER_WORKER
        reading.problems.append(
            Problem(name, "is a setting of a worker, not of a task" if per_worker else "is no option of this kind")
        )
    return reading


def _between_problems(sink: Reading, options: Reading) -> list[Problem]:
    part_size = _number(sink.values.get("obs_part_size", DEFAULTS["obs_part_size"]))
    largest = _number(options.values.get("max_object_bytes", 0))
    if largest > MAX_PARTS * part_size:
        name = full_name("options", "max_object_bytes")
        reason = f"must be at most {MAX_PARTS} parts of sink_task.obs_part_size, {MAX_PARTS * part_size}, not {largest}"
        return [Problem(name, reason, ProblemKind.BETWEEN_FIELDS)]
    return []


def default_options(settings: ObsDumpSettings) -> ObsDumpOptions:
    """The service's own `[obs_dump]` defaults, of what a task may override."""
    return ObsDumpOptions(**{field.name: getattr(settings, field.name) for field in fields(ObsDumpOptions)})


def to_spec(config: TaskConfig, secrets: Mapping[str, Secret], defaults: ObsDumpOptions) -> ObsDumpSpec:
    """The specification of a configuration that `parse` accepted. `secrets` by full field name, as `parse` gave them; at validate the
    configuration may name no topics."""
    sink = {**DEFAULTS, **config.sink_task}
    time_format = str(sink["partition_format"])
    return ObsDumpSpec(
        topics=split_topics(config.topics) if config.topics else (),
        topics_regex=config.topics_regex,
        access_key=secrets["sink_task.access_key"],
        secret_key=secrets["sink_task.secret_key"],
        bucket=str(sink["obs_bucket_name"]),
        path=stripped_path(config),
        strategy=ConsumerStrategy(str(sink["consumer_strategy"])),
        deliver_time_interval_s=_number(sink["deliver_time_interval"]),
        time_format="" if time_format in NO_TIME_DIRECTORY else time_format,
        timezone=str(sink["timezone"]),
        record_delimiter=DELIMITERS[str(sink["record_delimiter"])],
        store_keys=sink["store_keys"] is True,
        kv_delimiter=str(sink["kv_delimiter"]).encode(),
        part_size=_number(sink["obs_part_size"]),
        flush_size=_number(sink["flush_size"]),
        task_num=_number(sink["task_num"]),
        options=options_of(config, defaults),
    )


def units_of(config: TaskConfig) -> int:
    """`task_num` of a validated configuration."""
    return _number({**DEFAULTS, **config.sink_task}["task_num"])


def strategy_of(config: TaskConfig) -> ConsumerStrategy:
    """Where a run begins."""
    return ConsumerStrategy(str({**DEFAULTS, **config.sink_task}["consumer_strategy"]))


def stripped_path(config: TaskConfig) -> str:
    """`obs_path` as keys use it: outer slashes do not count."""
    return str(config.sink_task.get("obs_path", "")).strip("/")


def options_of(config: TaskConfig, defaults: ObsDumpOptions) -> ObsDumpOptions:
    if not config.options:
        return defaults
    merged = {**asdict(defaults), **config.options}
    return replace(
        ObsDumpOptions(**merged), on_lost_upload=OnLostUpload(str(merged["on_lost_upload"])), on_gap=OnGap(str(merged["on_gap"]))
    )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"a validated number is no integer but {type(value).__name__}")
    return value
