"""What a dump's request may say, field by field (api.md §4.1, obs-dump.md §13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.problems import ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.jobs.obs_dump.presentation import shown
from smartconnect.jobs.obs_dump.request import parse

SINK: dict[str, Any] = {"access_key": "AK", "secret_key": "SK", "obs_bucket_name": "lake"}


def body(sink: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {"topics": "orders", "sink_task": {**SINK, **(sink or {})}, **changes}


def fields(request: dict[str, Any]) -> dict[str, str]:
    return {problem.field: problem.reason for problem in parse(request).problems}


def test_a_small_request_is_stored_as_sent_with_its_secrets_apart() -> None:
    parsed = parse(body({"obs_path": "/a/b/", "task_num": 3.0}))
    assert parsed.problems == []
    assert parsed.config.sink_task == {"obs_bucket_name": "lake", "obs_path": "/a/b/", "task_num": 3}
    assert parsed.secrets == {"sink_task.access_key": Secret("AK"), "sink_task.secret_key": Secret("SK")}
    assert parsed.config.options is None


@pytest.mark.parametrize(
    ("field", "good"),
    [
        ("obs_bucket_name", ["abc", "obs_bucket", "a.b-c_D", "x" * 63]),
        ("obs_path", ["", "/", "a", "a/b/", "///a/b///", "x" * 64, "a_b-C9"]),
        ("consumer_strategy", ["latest", "earliest"]),
        ("destination_file_type", ["TEXT"]),
        ("deliver_time_interval", [30, 900, 30.0]),
        ("partition_format", ["yyyy", "yyyy/MM", "yyyy/MM/dd", "yyyy/MM/dd/HH", "yyyy/MM/dd/HH/mm", "", "N/A"]),
        ("record_delimiter", [",", ";", "|", "\n", "\\n", "NULL", ""]),
        ("store_keys", [True, False]),
        ("obs_part_size", [5 << 20, 100 << 20]),
        ("flush_size", [1, (1 << 31) - 1]),
        ("timezone", ["UTC", "America/New_York", "Asia/Chongqing"]),
        ("kv_delimiter", ["", ":", "x" * 16, "→"]),
        ("task_num", [1, 64]),
        ("agency_name", ["some"]),
    ],
)
def test_good_values(field: str, good: list[object]) -> None:
    for value in good:
        parsed = parse(body({field: value}))
        assert parsed.problems == [], value
        echoed = shown(parsed.config)[1][field] if value != "" or field != "obs_path" else ""
        assert echoed == value


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("access_key", ["", None, 5, "x" * 4097]),
        ("secret_key", ["", None, True]),
        ("obs_bucket_name", ["", "ab", "x" * 64, "a b", "a/b", "ümlaut", "abc\n"]),
        ("obs_path", ["a//b", "a b", "x" * 65, "ä", "a\n", 1]),
        ("consumer_strategy", ["LATEST", "none", 1]),
        ("destination_file_type", ["JSON", "text"]),
        ("deliver_time_interval", [29, 901, "60", 60.5, True, [], {}]),
        ("partition_format", ["MM", "yyyy/", "yyyy-MM", 2026]),
        ("record_delimiter", ["\t", "null", "\r\n", ",;"]),
        ("store_keys", ["true", 1, 0, "yes"]),
        ("obs_part_size", [(5 << 20) - 1, (100 << 20) + 1, "5242880"]),
        ("flush_size", [0, 1 << 31, -1]),
        ("timezone", ["Mars", "Europe", "../etc/passwd", "UTC\n", 8]),
        ("kv_delimiter", ["x" * 17, 5]),
        ("task_num", [0, 65, "2"]),
    ],
)
def test_bad_values_are_refused_with_the_fields_name(field: str, bad: list[object]) -> None:
    for value in bad:
        problems = parse(body({field: value})).problems
        assert [problem.field for problem in problems] == [f"sink_task.{field}"], value
        assert problems[0].kind is ProblemKind.FIELD


@pytest.mark.parametrize(
    ("topics", "reason"),
    [
        (",".join(f"t{n}" for n in range(21)), "at most 20"),
        ("a,,b", "empty name"),
        (",", "empty name"),
        ("a,b,a", 'names "a" more than once'),
        ("a, b ,b", "more than once"),
        ("a b", "no legal topic name"),
        ("ä", "no legal topic name"),
        (".", "no legal topic name"),
        ("x" * 250, "no legal topic name"),
        ("__consumer_offsets", "internal"),
        (5, "must be a string"),
    ],
)
def test_bad_topic_lists(topics: object, reason: str) -> None:
    assert reason in fields(body(topics=topics))["topics"]


def test_twenty_topics_with_blanks_are_fine() -> None:
    assert parse(body(topics=" , ".join(f"t.{n}_-" for n in range(20)))).problems == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "linear time"),
        (r"(a)\1", "linear time"),
        ("[", "linear time"),
        ("x" * 257, "at most 256"),
        ("a{1001}", "linear time"),
    ],
)
def test_bad_patterns(pattern: str, reason: str) -> None:
    assert reason in fields(body(topics=None, topics_regex=pattern))["topics_regex"]


@pytest.mark.parametrize("pattern", [".*", "topic-obs*", "(orders|users)-[0-9]+", "__.*", "x" * 256])
def test_good_patterns(pattern: str) -> None:
    assert parse(body(topics="", topics_regex=pattern)).problems == []


def test_exactly_one_of_topics_and_pattern() -> None:
    assert list(fields(body(topics_regex="a"))) == ["topics_regex"]
    assert list(fields(body(topics=None))) == ["topics"]


def test_options_are_checked_like_every_field_and_unknown_ones_refused() -> None:
    good = {"commit_interval_ms": 50, "jitter": 0.25, "on_gap": "stop", "janitor_min_age_s": 0, "refresh_interval_s": 1}
    assert parse(body(options=good)).config.options == good
    bad = {"memory_mb": 64, "nope": 1, "jitter": 0.6, "on_gap": "x", "drain_timeout_s": "5"}
    assert fields(body(options=bad)) == {
        "options.jitter": "must be a number from 0 to 0.5, not 0.6",
        "options.drain_timeout_s": 'must be a number from 0 to 600, not "5"',
        "options.on_gap": 'must be one of "continue", "stop", not "x"',
        "options.memory_mb": "is a setting of a worker, not of a task",
        "options.nope": "is no option of this kind",
    }


def test_an_object_must_fit_into_ten_thousand_parts() -> None:
    problems = parse(body({"obs_part_size": 5 << 20}, options={"max_object_bytes": (10_000 * (5 << 20)) + 1})).problems
    assert [(problem.field, problem.kind) for problem in problems] == [("options.max_object_bytes", ProblemKind.BETWEEN_FIELDS)]
    assert parse(body({"obs_part_size": 6 << 20}, options={"max_object_bytes": (10_000 * (5 << 20)) + 1})).problems == []


def test_values_are_quoted_short_and_secrets_never() -> None:
    reasons = fields(body({"timezone": "x" * 500, "partition_format": "y" * 500, "secret_key": ["SK-CANARY"]}))
    assert '"' + "y" * 64 + '…"' in reasons["sink_task.partition_format"]
    assert "y" * 65 not in reasons["sink_task.partition_format"]
    assert "CANARY" not in str(reasons)


def test_constants_of_the_response_are_accepted_in_silence_and_not_stored() -> None:
    full = {**dict(shown(parse(body()).config)[1]), **SINK}
    parsed = parse(body(full))
    assert (parsed.problems, parsed.ignored) == ([], [])
    assert "value_converter" not in parsed.config.sink_task


@pytest.mark.parametrize("side", ["sink_task", "source_task"])
def test_a_side_must_be_an_object(side: str) -> None:
    assert fields(body(**{side: "text"})) == {side: 'must be an object, not "text"'}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*SINK, "obs_path", "timezone", "flush_size", "kv_delimiter", "jitter", "unknown"])


@given(
    topics=json_values,
    pattern=json_values,
    sink=json_values | st.dictionaries(names, json_values, max_size=8),
    options=json_values | st.dictionaries(names, json_values, max_size=4),
)
def test_whatever_is_sent_gives_a_configuration_or_problems(topics: Any, pattern: Any, sink: Any, options: Any) -> None:
    parsed = parse({"topics": topics, "topics_regex": pattern, "sink_task": sink, "options": options})
    for problem in parsed.problems:
        assert problem.field
        assert problem.reason
    shown(parsed.config)
