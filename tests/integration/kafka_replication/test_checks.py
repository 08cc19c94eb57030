"""The live checks of a replication between real clusters, one of them with logins and ACLs (kafka-replication.md
§1, §10, §16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from smartconnect.domain.problems import ProblemKind
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from smartconnect.sandbox.ports import free_port
from tests.integration.kafka_replication.checking import JOES_PASSWORD, Control, as_joe, plainly, told
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.services import Names, shared
from tests.support.topics import create_topic

ANYTHING = AclOperation.ALL
Rights = Mapping[tuple[ResourceType, str, ResourcePatternType], tuple[AclOperation, ...]]


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A peer with logins and ACLs: Joe may only what a test grants. One of its listeners offers PLAIN alone."""
    users, plain = {"joe": JOES_PASSWORD, "admin": "admin-secret"}, {"listener.name.proxied.sasl.enabled.mechanisms": "PLAIN"}
    options = KafkaOptions(security="SASL_PLAINTEXT", plain_users=users, authorizer=True, properties=plain)
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


async def test_a_target_topic_that_appears_during_the_check_is_no_trouble(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, peer_kafka: KafkaCluster, names: Names
) -> None:
    """A unit of the same task may make it just then: the look at the target did not show it, and asked to make it the broker refuses."""
    await create_topic(peer_kafka.bootstrap_servers, names.topic())

    async def made(_: object) -> None:
        await create_topic(kafka.bootstrap_servers, names.topic())

    asked = proxied_kafka.on_request(ApiKey.CREATE_TOPICS, made)
    assert await Control(proxied_kafka).check(plainly(peer_kafka), topics=names.topic()) == []
    assert asked.hits == 1


async def test_validate_needs_no_topics_and_no_direction(kafka: KafkaCluster, peer_kafka: KafkaCluster) -> None:
    assert await Control(kafka).validate({"bootstrap_servers": peer_kafka.bootstrap_servers}) == []


async def test_a_peer_that_is_not_there_is_told_within_the_time_of_a_check(kafka: KafkaCluster) -> None:
    began = time.monotonic()
    problems = await Control(kafka).check({"bootstrap_servers": f"127.0.0.1:{free_port()}", "direction": "push"}, topics="orders")
    assert time.monotonic() - began < 12
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


async def test_a_mechanism_that_the_peer_does_not_offer(kafka: KafkaCluster, guarded: KafkaCluster) -> None:
    peer = as_joe(guarded, bootstrap_servers=f"127.0.0.1:{guarded.ports[0].proxied}", sasl_mechanism="SCRAM-SHA-512")
    found = told(await Control(kafka).check(peer, topics="orders"))
    assert set(found) == {"sasl_mechanism"}
    assert "does not accept sasl_mechanism SCRAM-SHA-512; it offers PLAIN" in found["sasl_mechanism"]


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL"])
async def test_wrong_protocol_of_the_peer(kafka: KafkaCluster, guarded: KafkaCluster, protocol: str) -> None:
    login = {} if protocol.startswith("SASL") else {"user_name": "", "password": ""}
    began = time.monotonic()
    problems = await Control(kafka).check(as_joe(guarded, security_protocol=protocol, **login), topics="orders")
    assert time.monotonic() - began < 12
    assert set(told(problems)) == {"security_protocol"}
    assert f"security_protocol {protocol}" in problems[0].reason
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


# -- modifications ------------------------------------------------------------------------------------------------------


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
