"""Topics made and removed by the independent client (confluent-kafka)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.waiting import eventually

_TIMEOUT_S = 30


async def create_topic(
    bootstrap_servers: str,
    name: str,
    *,
    partitions: int = 1,
    replicas: int = 1,
    config: Mapping[str, str] | None = None,
    client: Mapping[str, str] | None = None,
) -> None:
    """Create the topic and return when every partition has a leader. `client`: further client properties (security)."""
    admin = _admin(bootstrap_servers, client)
    topic = NewTopic(name, partitions, replicas, config=dict(config or {}))
    future = (await asyncio.to_thread(admin.create_topics, [topic]))[name]
    await asyncio.to_thread(future.result, _TIMEOUT_S)

    def is_led() -> bool:
        found = admin.list_topics(name, timeout=_TIMEOUT_S).topics[name].partitions
        return len(found) == partitions and all(partition.leader >= 0 for partition in found.values())

    await eventually(lambda: asyncio.to_thread(is_led), _TIMEOUT_S, what=f"leaders of {name}")


async def delete_topics(bootstrap_servers: str, names: Sequence[str], client: Mapping[str, str] | None = None) -> None:
    """Delete the topics; those that are gone already are fine."""
    if not names:
        return
    admin = _admin(bootstrap_servers, client)
    futures = await asyncio.to_thread(admin.delete_topics, list(names))
    for future in futures.values():
        await asyncio.to_thread(future.exception, _TIMEOUT_S)


def _admin(bootstrap_servers: str, client: Mapping[str, str] | None) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0, **(client or {})})
