"""From a stored configuration to the specification the dump runs by, and what two dumps may not share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions, ObsDumpSpec
from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.task import Desired, Kind, Task
from smartconnect.jobs.obs_dump.conflicts import conflicts, meaningless_positions
from smartconnect.jobs.obs_dump.request import default_options, parse, to_spec
from smartconnect.settings import ObsDumpSettings

SINK: dict[str, Any] = {"access_key": "AK", "secret_key": "SK", "obs_bucket_name": "lake"}


def spec(sink: dict[str, Any] | None = None, **changes: Any) -> ObsDumpSpec:
    parsed = parse({"topics": "orders, users", "sink_task": {**SINK, **(sink or {})}, **changes})
    assert parsed.problems == []
    return to_spec(parsed.config, parsed.secrets, ObsDumpOptions())


def test_defaults() -> None:
    made = spec()
    assert (made.topics, made.topics_regex) == (("orders", "users"), None)
    assert (made.bucket, made.path, made.strategy) == ("lake", "", ConsumerStrategy.LATEST)
    assert (made.deliver_time_interval_s, made.time_format, made.timezone) == (300, "yyyy/MM/dd/HH/mm", "Asia/Chongqing")
    assert (made.record_delimiter, made.kv_delimiter, made.store_keys) == (b"\n", b":", False)
    assert (made.part_size, made.flush_size, made.task_num) == (5 << 20, 1_000_000, 2)
    assert made.secret_key.reveal() == "SK"
    assert "SK" not in repr(made)


@pytest.mark.parametrize(
    ("sent", "meant"), [(",", b","), (";", b";"), ("|", b"|"), ("\n", b"\n"), ("\\n", b"\n"), ("NULL", b""), ("", b"")]
)
def test_each_spelling_of_a_delimiter(sent: str, meant: bytes) -> None:
    assert spec({"record_delimiter": sent}).record_delimiter == meant


@pytest.mark.parametrize("sent", ["N/A", ""])
def test_no_time_directory(sent: str) -> None:
    assert spec({"partition_format": sent}).time_format == ""


def test_outer_slashes_do_not_count_and_delimiters_are_utf8() -> None:
    assert spec({"obs_path": "//a/b/"}).path == "a/b"
    assert spec({"kv_delimiter": "→"}).kv_delimiter == "→".encode()


def test_a_tasks_options_lie_over_the_services() -> None:
    parsed = parse({"topics_regex": "a", "sink_task": SINK, "options": {"on_gap": "stop", "jitter": 0}})
    services = default_options(ObsDumpSettings(commit_interval_ms=50))
    made = to_spec(parsed.config, parsed.secrets, services)
    assert (made.options.on_gap, made.options.jitter, made.options.commit_interval_ms) == (OnGap.STOP, 0, 50)
    assert made.topics_regex == "a"


def task(number: int, sink: dict[str, Any] | None = None, **changes: Any) -> Task:
    request = {"topics": "orders", "sink_task": {**SINK, "obs_path": "dump", **(sink or {})}}
    kept = {name: changes.pop(name) for name in ("topics", "topics_regex") if name in changes}
    values: dict[str, Any] = {"project_id": "p", "instance_id": "i", "name": f"task{number}", "kind": Kind.OBS_DUMP}
    return Task(
        id=str(number),
        config=parse({**request, **kept}).config,
        desired=Desired.RUNNING,
        run=1,
        revision=1,
        create_time=number,
        **{**values, **changes},
    )


@pytest.mark.parametrize(
    ("other", "meets"),
    [
        (task(2), True),
        (task(2, topics="users,orders"), True),
        (task(2, topics="users"), False),
        (task(2, topics=None, topics_regex="ord.*"), True),
        (task(2, topics=None, topics_regex="ord"), False),
        (task(2, sink={"obs_path": "/dump/"}), True),
        (task(2, sink={"obs_path": "dump2"}), False),
        (task(2, sink={"obs_bucket_name": "other"}), False),
        (task(2, instance_id="another", project_id="q"), True),
        (task(1), False),
        (replace(task(2), kind=Kind.KAFKA_REPLICATION), False),
    ],
)
def test_two_dumps_meet_only_where_bucket_path_and_a_topic_are_the_same(other: Task, meets: bool) -> None:
    found = conflicts(task(1), [other])
    assert bool(found) is meets
    assert all(problem.field == "sink_task.obs_path" for problem in found)


def test_two_patterns_are_assumed_to_meet() -> None:
    one, other = task(1, topics=None, topics_regex="a.*"), task(2, topics=None, topics_regex="b.*")
    assert "both patterns" in conflicts(one, [other])[0].reason


def test_a_pattern_never_selects_internal_names() -> None:
    everything = task(2, topics=None, topics_regex=".*")
    internal = replace(task(1), config=replace(task(1).config, topics="__x"))
    assert conflicts(internal, [everything]) == []


def test_only_another_bucket_makes_positions_meaningless() -> None:
    old = parse({"topics": "orders", "sink_task": SINK}).config
    moved = parse({"topics": "orders", "sink_task": {**SINK, "obs_bucket_name": "other"}}).config
    assert [problem.reason for problem in meaningless_positions(old, moved)] == ["bucket lake"]
    new_path = parse({"topics": "users", "sink_task": {**SINK, "obs_path": "x", "consumer_strategy": "earliest"}}).config
    assert meaningless_positions(old, new_path) == []
