"""A topic for which a right is missing is that topic's error alone, on either side (kafka-replication.md §10, §11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.sides import Sides, plain, spec
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

JOE = KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "joe", "correct-horse")


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A Kafka with ACLs on which `JOE` may nothing until `grant`."""
    options = KafkaOptions(security="SASL_PLAINTEXT", plain_users={"joe": JOE.password, "admin": "admin-secret"}, authorizer=True)
    with shared(kafka_cluster(options)) as cluster:
        yield cluster


async def grant(server: KafkaCluster, rights: Mapping[str, Sequence[AclOperation]]) -> None:
    """Let Joe do this with these topics; returns when it was stored."""
    acls = [
        AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:joe", "*", operation, AclPermissionType.ALLOW)
        for topic, operations in rights.items()
        for operation in operations
    ]
    admin = AdminClient({"bootstrap.servers": server.internal_servers, "log_level": 0})
    for future in (await asyncio.to_thread(admin.create_acls, acls)).values():
        await asyncio.to_thread(future.result, 30)


async def test_topic_without_rights_is_the_error_of_that_topic_alone(
    guarded: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    """Joe may do everything with the topics "good", and less with the others; on the source first, then on the target."""
    good, unread, hidden, unknown = (names.topic(suffix) for suffix in ("good", "unread", "hidden", "unknown"))
    rights = {
        good: (AclOperation.ALL,),
        unread: (AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS),
        unknown: (AclOperation.READ,),
    }
    for topic in (good, unread, hidden, unknown):
        await create_topic(guarded.internal_servers, topic)
    await grant(guarded, rights)
    async with Cluster(guarded.bootstrap_servers, JOE, client_id="tests") as joes, plain(kafka) as ours:
        unit = Sides(joes, ours, spec(",".join((good, unread, hidden, unknown))))
        looked = await unit.view.look()
        troubles = looked.troubles | await unit.topics.create_and_grow(looked)
        assert {topic: trouble.code for topic, trouble in troubles.items()} == dict.fromkeys(
            (unread, hidden, unknown), "permission_missing"
        )
        assert "READ" in troubles[unread].message and "DESCRIBE" in troubles[hidden].message
        assert "DESCRIBE_CONFIGS" in troubles[unknown].message
        seen = await unit.until(lambda seen: seen.links)
        assert {tp.topic for tp in seen.links} == {good}
        await grant(guarded, {topic: (AclOperation.ALL,) for topic in (unread, hidden, unknown)})

        async def cured() -> bool:
            seen = await unit.view.look()
            await unit.topics.create_and_grow(seen)
            return len(seen.links) == 4 and not seen.troubles

        await eventually(cured, what="all topics are copied once the rights are there")


async def test_target_topic_that_may_not_be_written_or_made_is_told(
    guarded: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    good, unwritten, unmade = (names.topic(suffix) for suffix in ("good", "unwritten", "unmade"))
    for topic in (good, unwritten, unmade):
        await create_topic(kafka.bootstrap_servers, topic)
    for topic in (good, unwritten):
        await create_topic(guarded.internal_servers, topic)
    await grant(guarded, {good: (AclOperation.ALL,), unwritten: (AclOperation.READ,), unmade: (AclOperation.WRITE,)})
    async with Cluster(guarded.bootstrap_servers, JOE, client_id="tests") as joes, plain(kafka) as ours:
        unit = Sides(ours, joes, spec(",".join((good, unwritten, unmade))))
        looked = await unit.view.look()
        troubles = looked.troubles | await unit.topics.create_and_grow(looked)
        assert {tp.topic for tp in looked.links} == {good}
        assert {topic: trouble.code for topic, trouble in troubles.items()} == dict.fromkeys(
            (unwritten, unmade), "permission_missing"
        )
        assert "WRITE" in troubles[unwritten].message and f"create topic {unmade}" in troubles[unmade].message
