"""Rights on a Kafka with an authorizer, given and taken away while it runs. Whoever asks is told when they are stored; brokers may notice a
moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions

EVERYTHING = (AclOperation.ALL,)


def guarding(user: str, password: str) -> KafkaOptions:
    """Options of a Kafka on which this user may do nothing yet; its internal servers ask nobody."""
    return KafkaOptions(security="SASL_PLAINTEXT", plain_users={user: password, "admin": "admin-secret"}, authorizer=True)


class Rights:
    """What one user may do on one cluster."""

    def __init__(self, cluster: KafkaCluster, user: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": cluster.internal_servers, "log_level": 0})
        self._who = f"User:{user}"

    async def grant(
        self, what: ResourceType, name: str, operations: Iterable[AclOperation] = EVERYTHING, *, prefixed: bool = False
    ) -> None:
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        allow = AclPermissionType.ALLOW
        acls = [AclBinding(what, name, pattern, self._who, "*", operation, allow) for operation in operations]
        for future in (await asyncio.to_thread(self._admin.create_acls, acls)).values():
            await asyncio.to_thread(future.result, 30)

    async def revoke(self, what: ResourceType, name: str, operation: AclOperation = AclOperation.ANY) -> bool:
        """One of the rights on exactly this resource, or all of them; whether there was one."""
        pattern, any_kind = ResourcePatternType.LITERAL, AclPermissionType.ANY
        acls = [AclBindingFilter(what, name, pattern, self._who, None, operation, any_kind)]
        (gone,) = (await asyncio.to_thread(self._admin.delete_acls, acls)).values()
        return bool(await asyncio.to_thread(gone.result, 30))
