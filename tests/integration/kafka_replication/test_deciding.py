"""What is decided once, when a replication is created, modified or planned, and what it needs of the clusters (kafka-replication.md §1)."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import Producer

from smartconnect.domain.planning import PlanLayout, Start
from smartconnect.jobs.kafka_replication import planning, resolving
from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.ports import free_port
from tests.integration.kafka_replication.checking import Control, plainly
from tests.support.services import Names
from tests.support.topics import create_topic

# -- resolving -----------------------------------------------------------------------------------------------------------


async def test_what_only_the_clusters_tell_is_decided_and_stored(kafka: KafkaCluster, peer_kafka: KafkaCluster) -> None:
    configuration, problems = await Control(kafka).resolve(plainly(peer_kafka), topics="orders")
    assert problems == []
    source = configuration.source_task
    assert (source["current_cluster_name"], source["replication_factor"]) == ("here", 1)
    assert source["cluster_name"] == peer_kafka.cluster_id[:20]
    assert (source["current_cluster_id"], source["peer_cluster_id"]) == (kafka.cluster_id, peer_kafka.cluster_id)
    given = plainly(peer_kafka, cluster_name="B", current_cluster_name="A", replication_factor=1)
    configuration, _ = await Control(kafka).resolve(given, topics="orders")
    assert (configuration.source_task["cluster_name"], configuration.source_task["current_cluster_name"]) == ("B", "A")


async def test_a_silent_peer_leaves_open_what_nothing_needs(kafka: KafkaCluster, peer_kafka: KafkaCluster) -> None:
    silent = {"bootstrap_servers": f"127.0.0.1:{free_port()}", "direction": "pull"}
    began = time.monotonic()
    configuration, problems = await Control(kafka).resolve(silent, topics="orders")
    assert time.monotonic() - began < resolving.LOOK_WITHIN_S + 4
    assert problems == []
    assert "cluster_name" not in configuration.source_task
    assert configuration.source_task["replication_factor"] == 1  # of a pull the instance is the target
    pushed, _ = await Control(kafka).resolve({**silent, "direction": "push"}, topics="orders")
    assert "replication_factor" not in pushed.source_task
    for needing in (
        {"source": {"rename_topic_enabled": True}},
        {"options": {"mm2_topics": True}},
        {"options": {"heartbeats": True}},
    ):
        source = {**silent, **needing.get("source", {})}
        _, problems = await Control(kafka).resolve(source, topics="orders", options=needing.get("options"))
        assert [problem.field for problem in problems] == ["source_task.cluster_name"]
    _, problems = await Control(kafka).resolve({**silent, "rename_topic_enabled": True, "cluster_name": "B"}, topics="orders")
    assert problems == []


# -- planning ------------------------------------------------------------------------------------------------------------


async def test_latest_of_both_directions_is_the_end_now(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    name = names.topic("orders")
    await create_topic(kafka.bootstrap_servers, name, partitions=2)
    await create_topic(peer_kafka.bootstrap_servers, name, partitions=1)
    await produce(kafka, name, [0, 1, 1])
    await produce(peer_kafka, name, [0] * 5)
    control = Control(kafka)
    two_way = plainly(peer_kafka, direction="two-way", rename_topic_enabled=True, cluster_name="B", task_num=3)
    configuration, _ = control.read(two_way, topics_regex=f"{names.base}.*")
    planned = await control.plan(configuration, [], {})
    assert planned.layout == PlanLayout(("pull", "push"), 3) == control.job.layout(configuration)
    assert set(planned.starts) == {Start("pull", name, 0, 5), Start("push", name, 0, 1), Start("push", name, 1, 2)}


async def test_only_what_a_modification_adds_is_resolved_again(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    first, later, added = (names.topic(suffix) for suffix in ("a-first", "a-later", "b-added"))
    for name in (first, later, added):
        await create_topic(peer_kafka.bootstrap_servers, name)
        await produce(peer_kafka, name, [0])
    control = Control(kafka)
    configuration, _ = control.read(plainly(peer_kafka), topics=f"{first},{later}")
    planned = await control.plan(configuration, [], {})
    assert {start.topic for start in planned.starts} == {first, later}
    modified, _ = control.read(plainly(peer_kafka), topics_regex=f"{names.base}.*")
    known = [start for start in planned.starts if start.topic == first]
    again = await control.plan(modified, known, planned.facts)
    assert set(again.starts) == {Start("pull", added, 0, 1)}


async def test_earliest_needs_no_cluster_to_be_planned(kafka: KafkaCluster) -> None:
    control = Control(kafka)
    source = {"bootstrap_servers": f"127.0.0.1:{free_port()}", "direction": "pull", "consumer_strategy": "earliest"}
    configuration, _ = control.read(source, topics="orders")
    planned = await control.plan(configuration, [], {})
    assert (planned.layout, list(planned.starts)) == (PlanLayout(("pull",), 2), [])
    assert set(planned.facts) == {planning.SELECTION_FACT}


async def produce(server: KafkaCluster, name: str, partitions: list[int]) -> None:
    producer = Producer({"bootstrap.servers": server.internal_servers, "log_level": 0})
    for partition in partitions:
        producer.produce(name, b"value", partition=partition)
    assert await asyncio.to_thread(producer.flush, 30) == 0
