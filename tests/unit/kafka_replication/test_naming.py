"""Which topics are copied, and under which name (kafka-replication.md §1, §8)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationOptions
from smartconnect.jobs.kafka_replication.naming import Naming, source_under, target_under
from tests.unit.kafka_replication.requests import spec

A_AND_B = {"current_cluster_name": "A", "cluster_name": "B"}
TOPIC = st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True)


def naming(source: dict[str, Any], direction: Direction = Direction.PULL, *, same_cluster: bool = False, **changes: Any) -> Naming:
    return Naming(spec({**A_AND_B, **source}, **changes), direction, same_cluster=same_cluster)


EVERYTHING: dict[str, Any] = {"topics": ..., "topics_regex": ".*"}


def test_listed_topics_keep_their_name() -> None:
    pull = naming({}, topics="orders, bills")
    assert pull.rule == "identity"
    assert [pull.selects(name) for name in ("orders", "bills", "other", " bills")] == [True, True, False, False]
    assert pull.target_of("orders") == "orders"


@pytest.mark.parametrize(
    "name", ["__consumer_offsets", "__smartconnect_positions", "mm2-offset-syncs.A.internal", "x.internal", "internal"]
)
def test_internal_topics_are_never_selected(name: str) -> None:
    assert not naming({}, **EVERYTHING).selects(name)


def test_a_pattern_matches_whole_names() -> None:
    pull = naming({}, topics=..., topics_regex="orders-[0-9]+")
    assert [pull.selects(name) for name in ("orders-1", "orders-12", "orders-", "my-orders-1", "orders-1x")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_rename_puts_the_sources_alias_in_front() -> None:
    source = {"rename_topic_enabled": True, "direction": "two-way"}
    pull, push = naming(source, Direction.PULL), naming(source, Direction.PUSH)
    assert (pull.rule, push.rule) == ("prefix:B", "prefix:A")
    assert (pull.target_of("orders"), push.target_of("orders")) == ("B.orders", "A.orders")


@pytest.mark.parametrize("name", ["A.orders", "C.A.orders", "A.C.orders"])
def test_what_came_from_the_target_is_not_sent_back(name: str) -> None:
    source = {"rename_topic_enabled": True, "direction": "two-way"}
    assert not naming(source, Direction.PULL, **EVERYTHING).selects(name)  # from B to A
    assert naming(source, Direction.PUSH, **EVERYTHING).selects(name)


@pytest.mark.parametrize("name", ["orders.A", "AA.orders", "a.orders", "A", "A-orders", "B.orders"])
def test_a_name_that_only_looks_like_it_is_sent(name: str) -> None:
    assert naming({"rename_topic_enabled": True}, Direction.PULL, **EVERYTHING).selects(name)


def test_aliases_do_not_count_without_rename() -> None:
    assert naming({}, Direction.PULL, **EVERYTHING).selects("A.orders")


@pytest.mark.parametrize("name", ["A.orders", "B.orders"])
@pytest.mark.parametrize("direction", list(Direction))
def test_on_one_cluster_either_alias_counts(name: str, direction: Direction) -> None:
    source = {"rename_topic_enabled": True, "direction": "two-way"}
    assert not naming(source, direction, same_cluster=True, **EVERYTHING).selects(name)
    assert naming(source, direction, same_cluster=True, **EVERYTHING).selects("orders")


def test_a_mapping_applies_as_written_in_each_direction() -> None:
    source = {"topics_mapping": "a:b, c : d", "direction": "two-way"}
    for direction in Direction:
        each = naming(source, direction, topics=...)
        assert each.rule == 'map:{"a":"b","c":"d"}'
        assert [each.selects(name) for name in "abcd"] == [True, False, True, False]
        assert [each.target_of(name) for name in "ac"] == ["b", "d"]


def test_topics_outside_the_mapping_keep_their_name_unless_it_is_taken() -> None:
    pull = naming({"topics_mapping": "a1:b"}, topics=..., topics_regex="a[0-9]")
    assert (pull.target_of("a1"), pull.target_of("a2")) == ("b", "a2")
    assert [pull.selects(name) for name in ("a1", "a2", "b")] == [True, True, False]


def test_a_swap_selects_both() -> None:
    pull = naming({"topics_mapping": "a:b,b:a"}, topics=...)
    assert [(name, pull.target_of(name)) for name in "ab" if pull.selects(name)] == [("a", "b"), ("b", "a")]


def test_no_topic_is_copied_onto_itself() -> None:
    pull = naming({"topics_mapping": "a:b"}, same_cluster=True, topics="a,c")
    assert [pull.selects(name) for name in "ac"] == [True, False]


def test_a_long_name_is_told_not_cut() -> None:
    assert len(naming({"rename_topic_enabled": True}, topics="x" * 249).target_of("x" * 249)) == 251


def test_heartbeats_are_copied_under_the_sources_alias_and_not_sent_back() -> None:
    with_them = spec({**A_AND_B, "direction": "pull"}, options=ReplicationOptions(heartbeats=True), **EVERYTHING)
    pull = Naming(with_them, Direction.PULL)
    assert pull.selects("heartbeats")
    assert pull.target_of("heartbeats") == "B.heartbeats"
    assert [pull.selects(name) for name in ("A.heartbeats", "B.heartbeats", "C.heartbeats")] == [False, False, True]
    without = naming({}, **EVERYTHING)
    assert (without.selects("A.heartbeats"), without.target_of("heartbeats")) == (True, "heartbeats")


@given(topic=TOPIC, rule=st.sampled_from(["identity", "prefix:A", 'map:{"a":"b","c":"a"}']))
def test_the_inverse_of_a_rule_finds_the_source(topic: str, rule: str) -> None:
    target = target_under(rule, topic)
    found = source_under(rule, target)
    assert found == topic or target_under(rule, str(found)) == target


@pytest.mark.parametrize(
    ("rule", "target", "source"),
    [
        ("identity", "orders", "orders"),
        ("prefix:A", "A.orders", "orders"),
        ("prefix:A", "A.A.orders", "A.orders"),
        ("prefix:A", "B.orders", None),
        ("prefix:A", "A.", None),
        ("prefix:A", "A", None),
        ('map:{"a":"b"}', "b", "a"),
        ('map:{"a":"b"}', "a", None),
        ('map:{"a":"b"}', "c", "c"),
        ('map:{"a":"a"}', "a", "a"),
        ('map:{"a":"b","b":"a"}', "a", "b"),
    ],
)
def test_inverse(rule: str, target: str, source: str | None) -> None:
    assert source_under(rule, target) == source


@pytest.mark.parametrize("text", ["", "nonsense", "map:", "map:[]", 'map:{"a":1}', "map:" + "[" * 100_000, 'map:{"a":["b"]}'])
def test_a_text_that_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        target_under(text, "orders")
    with pytest.raises(ValueError):
        source_under(text, "orders")
