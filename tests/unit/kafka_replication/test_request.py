"""What a replication's request may say: every field of api.md §4.2 and every row of kafka-replication.md §16 that needs no cluster."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.domain.problems import ProblemKind
from smartconnect.jobs.kafka_replication.request import parse, to_spec
from tests.unit.kafka_replication.requests import HERE, body, find, read, reasons

DEFAULTS = ReplicationOptions()
LOOP = (
    "two-way needs rename_topic_enabled, provenance_header_enabled, or a topics_mapping whose targets are not replicated themselves; "
    "otherwise records would circulate for ever"
)


# -- fields in themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "good"),
    [
        ("bootstrap_servers", ["h:1", "h:1,[::1]:65535", " h:1 , i:2 "]),
        ("security_protocol", ["PLAINTEXT", "SSL"]),
        ("sasl_mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        ("current_cluster_name", ["a", "A-b_9", "x" * 20]),
        ("cluster_name", ["a", "A-b_9", "x" * 20]),
        ("direction", ["pull", "push"]),
        ("task_num", [1, 64, 3.0]),
        ("consumer_strategy", ["latest", "earliest"]),
        ("replication_factor", [1, 3]),
        ("rename_topic_enabled", [True, False]),
        ("topics_mapping", ["orders:x", "orders : x"]),
        ("provenance_header_enabled", [True, False]),
        ("sync_consumer_offsets_enabled", [True, False]),
        ("compression_type", ["none", "gzip", "snappy", "lz4", "zstd"]),
    ],
)
def test_good_values(field: str, good: list[object]) -> None:
    for value in good:
        parsed = read(body({field: value}))
        assert parsed.problems == [], value
        assert parsed.config.source_task[field] == value


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("instance_id", ["nowhere", 5, "foreign"]),
        ("bootstrap_servers", ["peer", "peer:0", "peer:65536", "peer:x", ",", "peer:1,", ":1", 9092]),
        ("security_protocol", ["plaintext", "TLS", 1]),
        ("sasl_mechanism", ["GSSAPI", "scram-sha-512"]),
        ("current_cluster_name", ["x" * 21, "a.b", "a b", "ä"]),
        ("cluster_name", ["x" * 21, "a.b", "a b", "ä"]),
        ("direction", ["both", "two_way", "PULL", True, ...]),
        ("task_num", [0, 65, -1, 1.5, "2", True]),
        ("consumer_strategy", ["newest"]),
        ("replication_factor", [0, -1, "3"]),
        ("rename_topic_enabled", ["true", 1]),
        (
            "topics_mapping",
            ["a", "a:b:c", ":b", "a:", "a:b,", "a:b,a:c", "a:c,b:c", "a:ü", "ü:a", "a:__b", "__a:b", "a.internal:b"],
        ),
        ("provenance_header_enabled", ["no"]),
        ("sync_consumer_offsets_enabled", [0]),
        ("compression_type", ["brotli", "LZ4"]),
    ],
)
def test_bad_values_are_refused_by_the_fields_name(field: str, bad: list[object]) -> None:
    for value in bad:
        changes = {"topics": ...} if field == "topics_mapping" else {}
        problems = read(body({field: value}, **changes)).problems
        assert [problem.field for problem in problems] == [f"source_task.{field}"] * len(problems), value
        assert problems, value
        assert problems[0].kind is ProblemKind.FIELD


@pytest.mark.parametrize("field", ["compression_type", "consumer_strategy", "security_protocol", "sasl_mechanism", "direction"])
def test_a_value_that_is_not_in_the_list_is_told_the_list(field: str) -> None:
    listed = {
        "compression_type": '"none", "gzip", "snappy", "lz4", "zstd"',
        "consumer_strategy": '"latest", "earliest"',
        "security_protocol": '"PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"',
        "sasl_mechanism": '"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"',
        "direction": '"pull", "push", "two-way"',
    }[field]
    assert reasons(body({field: "odd"}))[field] == f'must be one of {listed}, not "odd"'


def test_more_than_twenty_pairs_are_refused() -> None:
    pairs = ",".join(f"a{n}:b{n}" for n in range(21))
    assert reasons(body({"topics_mapping": pairs}, topics=...)) == {"topics_mapping": "must have at most 20 pairs, not 21"}
    assert reasons(body({"topics_mapping": pairs.rpartition(",")[0]}, topics=...)) == {}


def test_the_older_sdks_name_of_rename_is_read_like_the_new_one() -> None:
    assert read(body({"rename_topic_enable": True})).config.source_task["rename_topic_enabled"] is True
    assert read(body({"rename_topic_enable": True})).ignored == []
    both = read(body({"rename_topic_enable": True, "rename_topic_enabled": False}))
    assert both.config.source_task["rename_topic_enabled"] is False
    assert reasons(body({"rename_topic_enable": "x"})) == {"rename_topic_enabled": "must be true or false"}


def test_unknown_fields_and_the_other_side_are_ignored_by_name() -> None:
    parsed = read(body({"foo": 1, "peer_cluster_id": "sent"}, sink_task={"obs_bucket_name": "lake"}))
    assert parsed.problems == []
    assert parsed.ignored == ["source_task.foo", "sink_task.obs_bucket_name"]
    assert "peer_cluster_id" not in parsed.config.source_task
    assert parsed.config.sink_task == {}
    assert (parsed.config.source_type, parsed.config.sink_type) == ("KAFKA_REPLICATOR_SOURCE", "NONE")


def test_source_task_itself_is_needed() -> None:
    assert set(reasons({"topics": "orders"})) == {"bootstrap_servers", "direction"}
    assert "source_task" in reasons({"topics": "orders", "source_task": [1]})


# -- topics --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "part"),
    [
        ({"topics_regex": "a.*"}, "topics_regex", "excludes topics"),
        ({"topics": ...}, "topics", "is required, or topics_regex, or source_task.topics_mapping"),
        ({"topics": ",".join(f"t{n}" for n in range(21))}, "topics", "at most 20 topics, not 21"),
        ({"topics": "a,,b"}, "topics", "empty name"),
        ({"topics": "a,a"}, "topics", "more than once"),
        ({"topics": "ü"}, "topics", "no legal topic name"),
        ({"topics": "x" * 250}, "topics", "no legal topic name"),
        ({"topics": "mm2.internal"}, "topics", '"mm2.internal" is never replicated'),
        ({"topics": "__consumer_offsets"}, "topics", '"__consumer_offsets" is never replicated'),
        ({"topics": ..., "topics_regex": "("}, "topics_regex", "no regular expression"),
        ({"topics": ..., "topics_regex": "(?=a)"}, "topics_regex", "linear time"),
        ({"topics": ..., "topics_regex": "x" * 257}, "topics_regex", "256"),
    ],
)
def test_bad_topics(changes: dict[str, Any], field: str, part: str) -> None:
    found = reasons(body(**changes))
    assert part in found[field]
    assert set(found) == {field}


def test_the_left_sides_of_a_mapping_stand_for_topics() -> None:
    parsed = read(body({"topics_mapping": "a:b,c:d"}, topics=...))
    assert parsed.problems == []
    assert (parsed.config.topics, parsed.config.topics_regex) == (None, None)
    assert to_spec(parsed.config, {}, find, DEFAULTS).topics == ("a", "c")


# -- the peer ------------------------------------------------------------------------------------------------------------


def test_a_peer_is_needed() -> None:
    assert reasons(body({"bootstrap_servers": ...})) == {"bootstrap_servers": "is required, or instance_id"}


def test_an_unknown_instance_and_another_projects_are_refused_alike() -> None:
    for name in ("nowhere", "foreign"):
        problems = read(body({"instance_id": name, "bootstrap_servers": ...})).problems
        assert [(p.field, p.reason, p.kind) for p in problems] == [
            ("source_task.instance_id", f'"{name}" is no configured instance', ProblemKind.FIELD)
        ]


def test_both_names_of_the_peer_must_agree() -> None:
    agreeing = read(body({"instance_id": "there", "bootstrap_servers": " 10.1.0.1:9093"}))
    assert agreeing.problems == []
    assert "bootstrap_servers" not in agreeing.config.source_task
    problem = read(body({"instance_id": "there", "bootstrap_servers": "10.1.0.2:9093"})).problems[0]
    assert (problem.field, problem.kind) == ("source_task.bootstrap_servers", ProblemKind.BETWEEN_FIELDS)
    assert 'not the addresses of instance "there"' in problem.reason


def test_only_allowed_addresses_may_be_named() -> None:
    allowed = ("10.0.0.0/8", "*.example.com")
    good = "10.200.0.1:9092,kafka.EXAMPLE.com:9092"
    assert reasons(body({"bootstrap_servers": good}), allowed_targets=allowed) == {}
    for bad in ("192.168.0.1:9092", "localhost:9092", f"{good},example.org:1", "[::1]:1"):
        found = reasons(body({"bootstrap_servers": bad}), allowed_targets=allowed)
        assert "is not among control.allowed_targets" in found["bootstrap_servers"]
    assert reasons(body({"instance_id": "there", "bootstrap_servers": ...}), allowed_targets=("nothing",)) == {}


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ({"security_protocol": "SASL_SSL"}, {"user_name", "password"}),
        ({"security_protocol": "SASL_PLAINTEXT", "password": "pw"}, {"user_name"}),
        ({"user_name": "joe"}, {"password"}),
        ({"security_protocol": "PLAINTEXT", "user_name": "joe", "password": "pw"}, {"user_name", "password"}),
        ({"security_protocol": "SSL", "user_name": "joe"}, {"user_name"}),
        ({"password": "pw"}, {"password"}),
        ({"instance_id": "there", "bootstrap_servers": ..., "user_name": "other"}, {"password"}),
        ({"instance_id": "there", "bootstrap_servers": ..., "security_protocol": "SSL", "password": "pw"}, {"password"}),
    ],
)
def test_login_data_is_missing_or_of_no_use(sent: dict[str, Any], fields: set[str]) -> None:
    problems = read(body(sent)).problems
    assert {problem.field.removeprefix("source_task.") for problem in problems} == fields
    assert {problem.kind for problem in problems} == {ProblemKind.BETWEEN_FIELDS}
    assert "pw" not in str(problems)


# -- names and loops -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "changes", "field", "part"),
    [
        ({"current_cluster_name": "A", "cluster_name": "A"}, {}, "cluster_name", 'both are "A"'),
        ({"rename_topic_enabled": True, "topics_mapping": "orders:b"}, {}, "rename_topic_enabled", "excludes topics_mapping"),
        ({"topics_mapping": "bills:b"}, {}, "topics_mapping", '"bills" is not selected by topics'),
        (
            {"topics_mapping": "b:c"},
            {"topics": ..., "topics_regex": "a.*"},
            "topics_mapping",
            '"b" is not selected by topics_regex',
        ),
        ({"topics_mapping": "orders:bills"}, {"topics": "orders,bills"}, "topics_mapping", '"bills" is also the name of a topic'),
        ({"topics_mapping": "a1:a2"}, {"topics": ..., "topics_regex": "a."}, "topics_mapping", '"a2" is also the name of a topic'),
        ({"direction": "two-way"}, {}, "direction", LOOP),
        ({"direction": "two-way", "topics_mapping": "orders:b"}, {"topics": "orders,x"}, "direction", LOOP),
        ({"direction": "two-way", "topics_mapping": "a:b,b:a"}, {"topics": ...}, "direction", LOOP),
        ({"direction": "two-way", "topics_mapping": "a:a"}, {"topics": ...}, "direction", LOOP),
        ({"direction": "two-way", "topics_mapping": "a1:b"}, {"topics": ..., "topics_regex": "a."}, "direction", LOOP),
        ({"instance_id": "here", "bootstrap_servers": ...}, {}, "instance_id", "is the cluster of this instance itself"),
        (
            {"instance_id": "here", "bootstrap_servers": ..., "topics_mapping": "orders:b"},
            {"topics": "orders,x"},
            "instance_id",
            "is the cluster of this instance itself",
        ),
    ],
)
def test_fields_that_contradict_each_other(sent: dict[str, Any], changes: dict[str, Any], field: str, part: str) -> None:
    problems = read(body(sent, **changes)).problems
    assert [problem.field for problem in problems] == [f"source_task.{field}"]
    assert part in problems[0].reason
    assert problems[0].kind is ProblemKind.BETWEEN_FIELDS


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ({"direction": "two-way", "rename_topic_enabled": True}, {}),
        ({"direction": "two-way", "provenance_header_enabled": True}, {}),
        ({"direction": "two-way", "topics_mapping": "orders:b"}, {}),
        ({"direction": "two-way", "topics_mapping": "a:b"}, {"topics": ...}),
        ({"direction": "two-way", "provenance_header_enabled": True, "topics_mapping": "a:b,b:a"}, {"topics": ...}),
        ({"instance_id": "here", "bootstrap_servers": ..., "rename_topic_enabled": True}, {}),
        ({"instance_id": "here", "bootstrap_servers": ..., "topics_mapping": "orders:b"}, {}),
        ({"topics_mapping": "a:b,b:a"}, {"topics": ...}),
    ],
)
def test_ways_out_of_a_circle(sent: dict[str, Any], changes: dict[str, Any]) -> None:
    assert read(body(sent, **changes)).problems == []


def test_all_problems_are_told_together() -> None:
    found = reasons(body({"task_num": 0, "direction": "two-way", "bootstrap_servers": "x", "compression_type": "?"}, topics="a,a"))
    assert set(found) == {"task_num", "direction", "bootstrap_servers", "compression_type", "topics"}


# -- aliases -------------------------------------------------------------------------------------------------------------


def test_aliases_come_from_the_instances_names_else_ids() -> None:
    parsed = read(body({"instance_id": "there", "bootstrap_servers": ...}))
    assert parsed.config.source_task["current_cluster_name"] == "orders"
    assert parsed.config.source_task["cluster_name"] == "Backup_site"
    unnamed = HERE.model_copy(update={"name": "", "id": "b54c9dd8-0000-0000-0000-000000000001"})
    assert parse(body(), unnamed, find).config.source_task["current_cluster_name"] == "b54c9dd8-0000-0000-0"


def test_derived_aliases_never_meet() -> None:
    parsed = read(body({"instance_id": "here", "bootstrap_servers": ..., "rename_topic_enabled": True}))
    assert (parsed.config.source_task["current_cluster_name"], parsed.config.source_task["cluster_name"]) == ("orders", "orders-2")
    assert read(body({"cluster_name": "orders"})).config.source_task["current_cluster_name"] == "orders-2"


def test_the_alias_of_a_peer_by_addresses_stays_open_until_it_is_asked() -> None:
    assert "cluster_name" not in read(body()).config.source_task


# -- validate ------------------------------------------------------------------------------------------------------------


def test_validate_needs_only_what_its_checks_need() -> None:
    parsed = read({"source_task": {"bootstrap_servers": "127.0.0.1:9192"}}, partial=True)
    assert [problem.field for problem in parsed.problems] == ["topics"]
    spec = to_spec(parsed.config, parsed.secrets, find, DEFAULTS)
    assert (spec.directions, spec.topics) == ((), ())
    assert "direction" in reasons({"source_task": {"bootstrap_servers": "h:1", "direction": "up"}}, partial=True)
