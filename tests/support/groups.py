"""What a consumer group has committed, asked with our own client: librdkafka 2 crashes when a coordinator that does not know the group yet
answers such a question with an error."""

from __future__ import annotations

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.groups import fetch_offsets
from smartconnect.kafka.security import KafkaSecurity


async def committed_offsets(servers: str, group: str) -> list[int]:
    """In order of topics and partitions; those of an undecided transaction as they were before it."""
    async with Cluster(servers, KafkaSecurity(), client_id="tests") as cluster:
        found = await fetch_offsets(cluster, group, require_stable=False)
    return [position.offset for _, position in sorted(found.committed.items()) if position.offset >= 0]
