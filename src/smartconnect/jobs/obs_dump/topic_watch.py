"""Which topics an instance has: asked once for all units of a worker that want the same, not once by each. An instance of 5,000 partitions
and 18 tasks is described by one Metadata answer every refresh interval.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.topics import TopicSelection
from smartconnect.jobs.clusters import open_cluster
from smartconnect.jobs.topic_pattern import selection
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.types import ClusterMetadata
from smartconnect.settings import InstanceSettings

_Names = tuple[str, ...] | None


def selected_by(spec: ObsDumpSpec) -> TopicSelection:
    """The topics that a dump reads, by name."""
    return selection(",".join(spec.topics) or None, spec.topics_regex)


@dataclass(slots=True)
class _Seen:
    at: float
    metadata: ClusterMetadata


class TopicWatch:
    """One per worker. A changed connection of an instance gets a new client."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._clusters: dict[str, tuple[InstanceSettings, Cluster]] = {}
        self._seen: dict[tuple[str, _Names], _Seen] = {}
        self._asking: dict[tuple[str, _Names], asyncio.Lock] = {}

    async def look(self, instance: InstanceSettings, names: _Names, *, max_age_s: float) -> ClusterMetadata:
        """The topics of these names (None: all), not older than `max_age_s`. Errors are those of `Cluster.metadata`."""
        key = (instance.id, names)
        async with self._asking.setdefault(key, asyncio.Lock()):
            seen = self._seen.get(key)
            if seen is not None and self._clock.monotonic() - seen.at < max_age_s:
                return seen.metadata
            cluster = await self._cluster(instance)
            metadata = await cluster.metadata(names)
            self._seen[key] = _Seen(self._clock.monotonic(), metadata)
            return metadata

    async def close(self) -> None:
        for _, cluster in self._clusters.values():
            await cluster.close()
        self._clusters.clear()

    async def _cluster(self, instance: InstanceSettings) -> Cluster:
        known = self._clusters.get(instance.id)
        if known is not None:
            settings, cluster = known
            if settings == instance:
                return cluster
            self._clusters.pop(instance.id)
            await cluster.close()
        cluster = open_cluster(instance, client_id="smartconnect")
        self._clusters[instance.id] = (instance, cluster)
        return cluster
