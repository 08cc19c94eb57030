"""A Kafka with ACLs, and what its user Joe may do there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from smartconnect.domain.kafka_replication_spec import Peer
from smartconnect.domain.secret import Secret
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions

PASSWORD = "correct-horse"
GUARDED = KafkaOptions(security="SASL_PLAINTEXT", plain_users={"joe": PASSWORD, "admin": "admin-secret"}, authorizer=True)


def joes_peer(server: KafkaCluster) -> Peer:
    """The cluster as Joe's peer."""
    return Peer(None, server.bootstrap_servers, "SASL_PLAINTEXT", "PLAIN", "joe", Secret(PASSWORD))


async def grant(
    server: KafkaCluster, what: ResourceType, name: str, operations: Sequence[AclOperation], how: str = "LITERAL"
) -> None:
    """Let Joe do this; returns when it was stored."""
    acls = [
        AclBinding(what, name, ResourcePatternType[how], "User:joe", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    admin = _admin(server)
    for future in (await asyncio.to_thread(admin.create_acls, acls)).values():
        await asyncio.to_thread(future.result, 30)


async def revoke(server: KafkaCluster, what: ResourceType, name: str) -> None:
    """Joe may do nothing with it any more but for what a prefix lets him."""
    every = AclBindingFilter(what, name, ResourcePatternType.LITERAL, "User:joe", None, AclOperation.ANY, AclPermissionType.ANY)
    admin = _admin(server)
    for future in (await asyncio.to_thread(admin.delete_acls, [every])).values():
        await asyncio.to_thread(future.result, 30)


def _admin(server: KafkaCluster) -> AdminClient:
    """To be held until its futures are done."""
    return AdminClient({"bootstrap.servers": server.internal_servers, "log_level": 0})
