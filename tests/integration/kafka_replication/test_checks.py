"""The live checks, planning and resolving of a replication between real clusters, one of them with logins and ACLs (kafka-replication.md
§1, §10, §16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from smartconnect.domain.clock import Clock
from smartconnect.domain.planning import PlanLayout, Start
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Desired, Kind, Task, TaskConfig
from smartconnect.jobs.kafka_replication import planning, resolving
from smartconnect.jobs.kafka_replication.environment import Directory
from smartconnect.jobs.kafka_replication.job import KafkaReplicationJob
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.ports import free_port
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings
from tests.support.services import Names, shared
from tests.support.topics import create_topic

JOES_PASSWORD = "correct-horse"
ANYTHING = AclOperation.ALL
Rights = Mapping[tuple[ResourceType, str, ResourcePatternType], tuple[AclOperation, ...]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A peer with logins and ACLs: Joe may only what a test grants."""
    options = KafkaOptions(security="SASL_PLAINTEXT", plain_users={"joe": JOES_PASSWORD, "admin": "admin-secret"}, authorizer=True)
    with shared(kafka_cluster(options)) as cluster:
        yield cluster


def topic(name: str) -> tuple[ResourceType, str, ResourcePatternType]:
    return ResourceType.TOPIC, name, ResourcePatternType.LITERAL


CLUSTER = (ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL)
TRANSACTIONS = (ResourceType.TRANSACTIONAL_ID, "smartconnect.", ResourcePatternType.PREFIXED)
POSITIONS = topic("__smartconnect_positions")


async def grant(server: KafkaCluster, rights: Rights) -> None:
    """Joe gets these rights and no others."""
    admin = AdminClient({"bootstrap.servers": server.internal_servers, "log_level": 0})
    every = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    for future in (await asyncio.to_thread(admin.delete_acls, [every])).values():
        await asyncio.to_thread(future.result, 30)
    bindings = [
        AclBinding(kind, name, pattern, "User:joe", "*", operation, AclPermissionType.ALLOW)
        for (kind, name, pattern), operations in rights.items()
        for operation in operations
    ]
    for future in (await asyncio.to_thread(admin.create_acls, bindings)).values() if bindings else ():
        await asyncio.to_thread(future.result, 30)


class Control:
    """The job as control uses it, with instances that a test names."""

    def __init__(self, here: KafkaCluster, there: InstanceSettings | None = None, **settings: Any) -> None:
        current = InstanceSettings(id="here", project_id="p", name="here", bootstrap_servers=here.bootstrap_servers)
        instances = {each.id: each for each in (current, there) if each is not None}
        replication = KafkaReplicationSettings(**settings)
        directory = Directory(find_instance=instances.get, kafka_replication=lambda: replication)
        self.job = KafkaReplicationJob(directory, Clock(), Random(1))

    def read(self, source: Mapping[str, Any], **changes: Any) -> tuple[TaskConfig, Mapping[str, Secret]]:
        parsed = self.job.parse("here", {"source_task": dict(source), **changes})
        assert list(parsed.problems) == []
        return parsed.config, parsed.secrets

    async def check(self, source: Mapping[str, Any], **changes: Any) -> list[Problem]:
        return list(await self.job.check("here", *self.read(source, **changes)))

    async def validate(self, source: Mapping[str, Any]) -> list[Problem]:
        parsed = self.job.parse("here", {"source_task": dict(source)}, partial=True)
        return list(await self.job.check("here", parsed.config, parsed.secrets))

    async def resolve(
        self, source: Mapping[str, Any], earlier: TaskConfig | None = None, **changes: Any
    ) -> tuple[TaskConfig, list[Problem]]:
        resolved = await self.job.resolve("here", *self.read(source, **changes), earlier)
        return resolved.config, list(resolved.problems)

    async def plan(self, configuration: TaskConfig, known: list[Start], facts: Mapping[str, str]) -> Any:
        return await self.job.plan(a_task(configuration), {}, known, facts)


def a_task(configuration: TaskConfig) -> Task:
    return Task("task-1", "p", "here", "name", Kind.KAFKA_REPLICATION, configuration, Desired.RUNNING, 1, 1, 0)


def told(problems: list[Problem]) -> dict[str, str]:
    """Reasons by field, without warnings; several of one field joined."""
    found: dict[str, str] = {}
    for problem in problems:
        if not problem.warning:
            field = problem.field.removeprefix("source_task.")
            found[field] = f"{found[field]}; {problem.reason}" if field in found else problem.reason
    return found


def plainly(server: KafkaCluster, **more: Any) -> dict[str, Any]:
    return {"bootstrap_servers": server.bootstrap_servers, "direction": "pull", **more}


def as_joe(server: KafkaCluster, **more: Any) -> dict[str, Any]:
    login = {"security_protocol": "SASL_PLAINTEXT", "user_name": "joe", "password": JOES_PASSWORD}
    return {"bootstrap_servers": server.bootstrap_servers, "direction": "pull", **login, **more}


# -- reaching both sides -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["pull", "push", "two-way"])
async def test_two_open_clusters_are_fit(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names, direction: str) -> None:
    for server in (kafka, peer_kafka):
        await create_topic(server.bootstrap_servers, names.topic())
    source = plainly(peer_kafka, direction=direction, provenance_header_enabled=True, sync_consumer_offsets_enabled=True)
    assert await Control(kafka).check(source, topics=names.topic()) == []
    assert await Control(kafka).check(source, topics_regex=f"{names.base}.*") == []
    assert await Control(kafka, delivery="at_least_once").check(source, topics=names.topic()) == []


async def test_nothing_is_made_by_checking(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    await create_topic(peer_kafka.bootstrap_servers, names.topic())
    assert await Control(kafka).check(plainly(peer_kafka), topics=names.topic()) == []
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    assert names.topic() not in (await asyncio.to_thread(admin.list_topics, timeout=30)).topics


async def test_validate_needs_no_topics_and_no_direction(kafka: KafkaCluster, peer_kafka: KafkaCluster) -> None:
    assert await Control(kafka).validate({"bootstrap_servers": peer_kafka.bootstrap_servers}) == []


async def test_a_peer_that_is_not_there_is_told_within_the_time_of_a_check(kafka: KafkaCluster) -> None:
    began = time.monotonic()
    problems = await Control(kafka).check({"bootstrap_servers": f"127.0.0.1:{free_port()}", "direction": "push"}, topics="orders")
    assert time.monotonic() - began < 9
    assert set(told(problems)) == {"bootstrap_servers", "topics"}
    assert {problem.kind for problem in problems} == {ProblemKind.KAFKA_CLUSTER, ProblemKind.TOPIC_MISSING}


async def test_wrong_password_of_the_peer(kafka: KafkaCluster, guarded: KafkaCluster) -> None:
    problems = await Control(kafka).check(as_joe(guarded, password="CANARY-wrong"), topics="orders")
    assert set(told(problems)) == {"user_name"}
    assert problems[0].kind is ProblemKind.KAFKA_CLUSTER
    assert "CANARY" not in str(problems)


async def test_wrong_mechanism_of_the_peer(kafka: KafkaCluster, guarded: KafkaCluster) -> None:
    found = told(await Control(kafka).check(as_joe(guarded, sasl_mechanism="SCRAM-SHA-512"), topics="orders"))
    assert set(found) == {"user_name"}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL"])
async def test_wrong_protocol_of_the_peer(kafka: KafkaCluster, guarded: KafkaCluster, protocol: str) -> None:
    login = {} if protocol.startswith("SASL") else {"user_name": "", "password": ""}
    began = time.monotonic()
    problems = await Control(kafka).check(as_joe(guarded, security_protocol=protocol, **login), topics="orders")
    assert time.monotonic() - began < 9
    assert set(told(problems)) <= {"bootstrap_servers", "user_name"}
    assert [problem.kind for problem in problems] == [ProblemKind.KAFKA_CLUSTER]


# -- topics, names, numbers ----------------------------------------------------------------------------------------------


async def test_a_named_topic_must_exist_on_a_source_side(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    await create_topic(kafka.bootstrap_servers, names.topic("mine"))
    control, both = Control(kafka), f"{names.topic('mine')},{names.topic('nowhere')}"
    missing = await control.check(plainly(peer_kafka, direction="two-way", rename_topic_enabled=True), topics=both)
    assert told(missing) == {"topics": f"{names.topic('nowhere')} does not exist on the peer or the instance"}
    assert missing[0].kind is ProblemKind.TOPIC_MISSING
    pulled = await control.check(plainly(peer_kafka), topics=names.topic("mine"))
    assert told(pulled) == {"topics": f"{names.topic('mine')} does not exist on the peer"}
    mapped = await control.check(plainly(peer_kafka, topics_mapping=f"{names.topic('nowhere')}:x"))
    assert set(told(mapped)) == {"topics_mapping"}
    assert await control.check(plainly(peer_kafka), topics_regex=f"{names.base}.nothing-yet.*") == []


async def test_one_cluster_under_two_names_needs_other_names(kafka: KafkaCluster, names: Names) -> None:
    await create_topic(kafka.bootstrap_servers, names.topic())
    problems = await Control(kafka).check(plainly(kafka), topics=names.topic())
    assert "is the cluster of this instance itself" in told(problems)["bootstrap_servers"]
    assert problems[0].kind is ProblemKind.LIVE
    renamed = plainly(kafka, rename_topic_enabled=True, cluster_name="B")
    assert await Control(kafka).check(renamed, topics=names.topic()) == []
    mapped = plainly(kafka, topics_mapping=f"{names.topic()}:{names.topic('copy')}")
    assert await Control(kafka).check(mapped, topics=names.topic()) == []


async def test_more_replicas_than_brokers(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    await create_topic(peer_kafka.bootstrap_servers, names.topic())
    problems = await Control(kafka).check(plainly(peer_kafka, replication_factor=2), topics=names.topic())
    assert told(problems) == {"replication_factor": "2 is more than the 1 brokers of the instance"}
    assert problems[0].kind is ProblemKind.REPLICATION_FACTOR


async def test_a_name_that_grows_too_long_is_a_warning(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> None:
    long = names.topic("x" * (249 - len(names.topic(""))))
    await create_topic(peer_kafka.bootstrap_servers, long)
    problems = await Control(kafka).check(plainly(peer_kafka, rename_topic_enabled=True, cluster_name="B"), topics=long)
    assert [(problem.field, problem.warning) for problem in problems] == [("topics", True)]


# -- rights --------------------------------------------------------------------------------------------------------------


async def test_rights_on_a_source_are_named(kafka: KafkaCluster, guarded: KafkaCluster, names: Names) -> None:
    good, unread, hidden = (names.topic(suffix) for suffix in ("good", "unread", "hidden"))
    for name in (good, unread, hidden):
        await create_topic(guarded.internal_servers, name)
    enough = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    await grant(guarded, {topic(good): enough, topic(unread): (AclOperation.DESCRIBE,)})
    problems = await Control(kafka).check(as_joe(guarded), topics=f"{good},{unread},{hidden}")
    assert {problem.kind for problem in problems} == {ProblemKind.KAFKA_CLUSTER}
    assert {problem.reason for problem in problems} == {
        f'no right to READ, DESCRIBE_CONFIGS on topic "{unread}" of the peer',
        f'no right to READ, DESCRIBE, DESCRIBE_CONFIGS on topic "{hidden}" of the peer',
    }
    groups = await Control(kafka).check(as_joe(guarded, sync_consumer_offsets_enabled=True), topics=good)
    assert told(groups) == {"sync_consumer_offsets_enabled": "no right to DESCRIBE the cluster of the peer"}


async def test_rights_on_a_target_are_named(kafka: KafkaCluster, guarded: KafkaCluster, names: Names) -> None:
    good, unwritten, unmade = (names.topic(suffix) for suffix in ("good", "unwritten", "unmade"))
    for name in (good, unwritten, unmade):
        await create_topic(kafka.bootstrap_servers, name)
    for name in (good, unwritten):
        await create_topic(guarded.internal_servers, name)
    push, named = as_joe(guarded, direction="push"), f"{good},{unwritten},{unmade}"
    rights: dict[Any, Any] = {
        topic(good): (ANYTHING,),
        topic(unwritten): (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS),
        topic(unmade): (AclOperation.DESCRIBE,),
        POSITIONS: (ANYTHING,),
        TRANSACTIONS: (ANYTHING,),
    }
    await grant(guarded, rights)
    problems = await Control(kafka).check(push, topics=named)
    assert {problem.reason for problem in problems} == {
        f'no right to WRITE, ALTER on topic "{unwritten}" of the peer',
        f'no right to WRITE, READ, ALTER, DESCRIBE_CONFIGS, ALTER_CONFIGS on topic "{unmade}" of the peer',
        f'no right to CREATE topic "{unmade}" on the peer',
    }
    await grant(guarded, {**rights, TRANSACTIONS: (AclOperation.DESCRIBE,)})
    refused = await Control(kafka).check(push, topics=good)
    assert "transactional id" in told(refused)["source_task"]
    await grant(guarded, {**rights, POSITIONS: (AclOperation.DESCRIBE,)})
    assert told(await Control(kafka).check(push, topics=good)) == {
        "source_task": 'no right to WRITE, READ on topic "__smartconnect_positions" of the peer; '
        'no right to CREATE topic "__smartconnect_positions" on the peer'
    }
    await grant(guarded, rights)
    assert await Control(kafka).check(push, topics=good) == []


async def test_groups_that_may_not_be_written_are_named(kafka: KafkaCluster, guarded: KafkaCluster, names: Names) -> None:
    name, group = names.topic(), names.group()
    await create_topic(kafka.bootstrap_servers, name)
    await create_topic(guarded.internal_servers, name)
    await _commit(kafka, group, name)
    await _commit(guarded, group, name)
    rights: dict[Any, Any] = {topic(name): (ANYTHING,), POSITIONS: (ANYTHING,), TRANSACTIONS: (ANYTHING,)}
    push = as_joe(guarded, direction="push", sync_consumer_offsets_enabled=True)
    options = {"groups_include": f"{names.base}.*"}
    await grant(guarded, rights)
    refused = told(await Control(kafka).check(push, topics=name, options=options))
    assert refused == {"sync_consumer_offsets_enabled": f'no right to READ, DESCRIBE on group "{group}" of the peer'}
    this_group = (ResourceType.GROUP, group, ResourcePatternType.LITERAL)
    await grant(guarded, {**rights, this_group: (AclOperation.DESCRIBE,)})
    refused = told(await Control(kafka).check(push, topics=name, options=options))
    assert refused == {"sync_consumer_offsets_enabled": f'no right to READ on group "{group}" of the peer'}
    await grant(guarded, {**rights, this_group: (AclOperation.READ,)})
    assert await Control(kafka).check(push, topics=name, options=options) == []


@pytest.fixture(scope="module")
def short_transactions() -> Iterator[KafkaCluster]:
    """A target that refuses our transactions: none may last 30 s."""
    with shared(kafka_cluster(KafkaOptions(properties={"transaction.max.timeout.ms": "10000"}))) as cluster:
        yield cluster


async def test_a_target_that_refuses_transactions_names_the_way_out(
    kafka: KafkaCluster, short_transactions: KafkaCluster, names: Names
) -> None:
    await create_topic(kafka.bootstrap_servers, names.topic())
    push = plainly(short_transactions, direction="push")
    problems = await Control(kafka).check(push, topics=names.topic())
    assert [(problem.field, problem.kind) for problem in problems] == [("options.delivery", ProblemKind.KAFKA_CLUSTER)]
    assert "the peer refuses transactions" in problems[0].reason and "INVALID_TRANSACTION_TIMEOUT" in problems[0].reason
    assert problems[0].reason.endswith("set kafka_replication.delivery = at_least_once")
    assert await Control(kafka).check(push, topics=names.topic(), options={"delivery": "at_least_once"}) == []


async def _commit(server: KafkaCluster, group: str, name: str) -> None:
    consumer = Consumer({"bootstrap.servers": server.internal_servers, "group.id": group, "log_level": 0})
    try:
        await asyncio.to_thread(consumer.commit, offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    finally:
        await asyncio.to_thread(consumer.close)


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
    assert time.monotonic() - began < resolving.LOOK_WITHIN_S + 1
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


async def test_another_cluster_behind_a_modification_is_seen(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, guarded: KafkaCluster
) -> None:
    control = Control(kafka)
    stored, _ = await control.resolve(plainly(peer_kafka, cluster_name="B"), topics="orders")
    other_address = plainly(peer_kafka, cluster_name="B", bootstrap_servers=peer_kafka.internal_servers)
    same, _ = await control.resolve(other_address, stored, topics="orders")
    assert list(control.job.meaningless_positions(stored, same)) == []
    another, _ = await control.resolve(
        plainly(guarded, cluster_name="B", bootstrap_servers=guarded.internal_servers), stored, topics="orders"
    )
    found = [problem.field for problem in control.job.meaningless_positions(stored, another)]
    assert found == ["source_task.bootstrap_servers"]


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
