"""What two replications may not share, and which changes make stored positions meaningless (kafka-replication.md §16, api.md §6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smartconnect.domain.problems import ProblemKind
from smartconnect.domain.task import Kind, Task, TaskConfig
from smartconnect.jobs.kafka_replication.conflicts import conflicts, meaningless_positions
from tests.unit.kafka_replication.requests import THERE, a_task, config, find

BY_ID: dict[str, Any] = {"bootstrap_servers": ..., "instance_id": "there"}
SWAPPED: dict[str, Any] = {"bootstrap_servers": ..., "instance_id": "here"}
A_AND_B = {"current_cluster_name": "A", "cluster_name": "B"}


def task(source: dict[str, Any] | None = None, task_id: str = "task-2", instance_id: str = "here", **changes: Any) -> Task:
    return a_task(config(source, **changes), task_id, instance_id=instance_id)


def told(mine: Task, *others: Task) -> list[tuple[str, str]]:
    problems = conflicts(mine, others, find)
    assert {problem.kind for problem in problems} <= {ProblemKind.TOPIC_IN_USE}
    return [(problem.field, problem.reason) for problem in problems]


MINE = a_task(config(BY_ID))


def test_the_same_pair_of_topics_in_the_same_direction_is_refused() -> None:
    advice = "leave it out, or give it another name on the target"
    assert told(MINE, task(BY_ID)) == [("topics", f'task name-of-task-2 replicates topic "orders" already: {advice}')]
    mapped = task({**BY_ID, "topics_mapping": "orders:copy"}, topics=...)
    mine = a_task(config({**BY_ID, "topics_mapping": "orders:copy,bills:bills-copy"}, topics=...))
    field, reason = told(mine, mapped)[0]
    assert field == "source_task.topics_mapping"
    assert reason.startswith('task name-of-task-2 replicates topic "orders" to "copy" already')


@pytest.mark.parametrize(
    "other",
    [
        task(BY_ID, topics="bills"),
        task({**BY_ID, "direction": "push"}),
        task({**BY_ID, "topics_mapping": "orders:copy"}),
        task({**BY_ID, "rename_topic_enabled": True}),
        task({"bootstrap_servers": "elsewhere:9092"}),
        task(BY_ID, instance_id="third"),
        task(BY_ID, topics=..., topics_regex="bill.*"),
        replace(task(BY_ID), kind=Kind.OBS_DUMP),
        replace(task(BY_ID), id=MINE.id),
    ],
)
def test_other_pairs_are_fine(other: Task) -> None:
    assert told(MINE, other) == []


@pytest.mark.parametrize(("mine", "theirs", "refused"), [(True, True, True), (True, False, False), (False, True, False)])
def test_two_tasks_that_cross_may_not_both_translate_group_offsets(mine: bool, theirs: bool, refused: bool) -> None:
    pull = a_task(config({**BY_ID, "sync_consumer_offsets_enabled": mine}))
    push = task({**BY_ID, "direction": "push", "sync_consumer_offsets_enabled": theirs})
    problems = conflicts(pull, [push], find)
    assert [problem.field for problem in problems] == (["source_task.sync_consumer_offsets_enabled"] if refused else [])
    assert all("two-way" in problem.reason for problem in problems)


def test_a_peer_is_known_by_its_addresses_too() -> None:
    assert told(MINE, task({"bootstrap_servers": "10.1.0.1:9093"}))
    assert told(a_task(config({"bootstrap_servers": "P:1,q:2"})), task({"bootstrap_servers": "r:3,p:1"}))


def test_cluster_ids_decide_where_both_are_known() -> None:
    def with_ids(source: dict[str, Any], peer_id: str, task_id: str) -> Task:
        configuration = config(source)
        ids = {"current_cluster_id": "id-here", "peer_cluster_id": peer_id}
        return a_task(replace(configuration, source_task={**configuration.source_task, **ids}), task_id)

    mine = with_ids({"bootstrap_servers": "p:1"}, "one", "task-1")
    assert told(mine, with_ids({"bootstrap_servers": "other-name:1"}, "one", "task-2"))
    assert not told(mine, with_ids({"bootstrap_servers": "p:1"}, "two", "task-2"))


def test_the_same_way_seen_from_the_other_end_is_refused() -> None:
    push_from_there = a_task(config({**SWAPPED, "direction": "push"}, THERE), "task-2", instance_id="there")
    assert told(MINE, push_from_there) == [
        (
            "topics",
            'task name-of-task-2 of another instance replicates topic "orders" already: '
            "leave it out, or give it another name on the target",
        )
    ]
    pull_from_here = a_task(config({**SWAPPED, "direction": "pull"}, THERE), "task-2", instance_id="there")
    assert told(MINE, pull_from_here) == []


def test_two_way_meets_either_direction() -> None:
    both = task({**BY_ID, "direction": "two-way", "provenance_header_enabled": True})
    assert told(MINE, both)
    assert told(a_task(config({**BY_ID, "direction": "push"})), both)


def test_patterns_meet_names_and_are_assumed_to_meet_patterns() -> None:
    pattern: dict[str, Any] = {"topics": ..., "topics_regex": "o.*"}
    assert told(MINE, task(BY_ID, **pattern))
    mine = a_task(config(BY_ID, topics=..., topics_regex="b.*"))
    field, reason = told(mine, task(BY_ID, **pattern))[0]
    assert (field, "topics that both patterns may match" in reason) == ("topics_regex", True)
    assert told(mine, task({**BY_ID, "rename_topic_enabled": True}, **pattern)) == []


def test_renamed_topics_meet_under_one_alias_only() -> None:
    renamed = {**BY_ID, "rename_topic_enabled": True, **A_AND_B}
    assert told(a_task(config(renamed)), task(renamed))
    assert told(a_task(config(renamed)), task({**renamed, "cluster_name": "C"})) == []


def test_an_alias_that_only_the_peer_can_tell_is_compared_when_it_is_told() -> None:
    unresolved = {"rename_topic_enabled": True}
    assert told(a_task(config(unresolved)), task(unresolved)) == []
    resolved = {**unresolved, "cluster_name": "id"}
    assert told(a_task(config(resolved)), task(resolved))


def test_a_task_of_another_project_is_not_named() -> None:
    other = replace(task(BY_ID), project_id="another")
    assert told(MINE, other)[0][1].startswith("a task of another project replicates")


# -- stored positions ----------------------------------------------------------------------------------------------------


def meaningless(old: TaskConfig, new: TaskConfig) -> list[tuple[str, str]]:
    return [(p.field.removeprefix("source_task."), p.reason) for p in meaningless_positions(old, new, find)]


OLD: dict[str, Any] = {**BY_ID, **A_AND_B}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"direction": "push"}, ("direction", "direction pull")),
        ({"topics_mapping": "orders:copy"}, ("topics_mapping", 'topic "orders" as "orders"')),
        ({"rename_topic_enabled": True}, ("rename_topic_enabled", 'topic "orders" as "orders"')),
    ],
)
def test_changes_that_need_a_new_run(sent: dict[str, Any], found: tuple[str, str]) -> None:
    assert meaningless(config(OLD), config({**OLD, **sent})) == [found]


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ({}, {}),
        ({"task_num": 9, "compression_type": "lz4", "consumer_strategy": "earliest", "replication_factor": 3}, {}),
        ({}, {"topics": "orders,bills"}),
        ({}, {"topics": ..., "topics_regex": "o.*"}),
        ({"topics_mapping": "bills:copy"}, {"topics": "orders,bills"}),
        ({"cluster_name": "C", "current_cluster_name": "D"}, {}),
        ({"user_name": "joe", "password": "pw"}, {}),
        ({"instance_id": ..., "bootstrap_servers": "10.1.0.1:9093,10.1.0.2:9093"}, {}),
    ],
)
def test_changes_that_keep_the_positions(sent: dict[str, Any], changes: dict[str, Any]) -> None:
    assert meaningless(config(OLD), config({**OLD, **sent}, **changes)) == []


def test_another_target_name_of_a_topic_already_copied() -> None:
    renamed = config({**OLD, "rename_topic_enabled": True})
    again = config({**OLD, "rename_topic_enabled": True, "cluster_name": "C"})
    assert meaningless(renamed, again) == [("cluster_name", 'topic "orders" as "B.orders"')]
    other_alias = config({**OLD, "rename_topic_enabled": True, "current_cluster_name": "C"})
    assert meaningless(renamed, other_alias) == []  # of a pull only the peer's alias is in the name
    pattern = {"topics": ..., "topics_regex": ".*"}
    everything = config({**OLD, "rename_topic_enabled": True}, **pattern)
    assert meaningless(everything, config(OLD, **pattern)) == [("rename_topic_enabled", 'topics as "B.<topic>"')]
    mapped = config({**OLD, "topics_mapping": "a:b"}, topics=...)
    assert meaningless(mapped, config({**OLD, "topics_mapping": "a:c"}, topics=...)) == [("topics_mapping", 'topic "a" as "b"')]
    assert meaningless(mapped, config({**OLD, "topics_mapping": "c:d"}, topics=...)) == []


def test_another_peer() -> None:
    old = config({"bootstrap_servers": "a:1"})

    def asked(servers: str, cluster_id: str) -> TaskConfig:
        new = config({"bootstrap_servers": servers})
        return replace(new, source_task={**new.source_task, "current_cluster_id": "x", "peer_cluster_id": cluster_id})

    known = replace(old, source_task={**old.source_task, "peer_cluster_id": "one"})
    assert meaningless(known, config({"bootstrap_servers": "b:1"})) == []  # not asked yet
    assert meaningless(known, asked("b:1", "one")) == []
    assert meaningless(known, asked("b:1", "two")) == [("bootstrap_servers", "the peer a:1")]
    assert meaningless(known, asked("a:1", "two")) == [("bootstrap_servers", "the peer a:1")]
    assert meaningless(known, asked("b:1", "")) == [("bootstrap_servers", "the peer a:1")]
    assert meaningless(known, asked("a:1", "")) == []


def test_an_instance_that_now_is_another_cluster() -> None:
    old, new = config(OLD), config({**OLD, "task_num": 3})
    old = replace(old, source_task={**old.source_task, "peer_cluster_id": "one"})
    new = replace(new, source_task={**new.source_task, "peer_cluster_id": "two"})
    assert meaningless(old, new) == [("instance_id", "the peer there")]
