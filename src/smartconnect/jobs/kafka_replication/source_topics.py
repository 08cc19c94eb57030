"""What the source shows of its topics. A list of all leaves out those that we may not describe: one that was there before and is not listed
any more is asked for by its name, which tells a topic that was deleted from one whose rights are gone. Used by `topic_view`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.types import ClusterMetadata


class SourceTopics:
    """One for a view. `topics`: the names selected, None where a pattern selects."""

    def __init__(self, cluster: Cluster, topics: Collection[str] | None) -> None:
        self._cluster, self._topics = cluster, topics
        self._parts: tuple[ClusterMetadata, ClusterMetadata] | None = None
        self._whole: ClusterMetadata | None = None

    async def read(self, known: Collection[str]) -> ClusterMetadata:
        """As it is now, `known` topics included where a pattern selects; the same object while nothing changes."""
        listed = await self._cluster.metadata(self._topics, operations=True)
        unlisted = [] if self._topics is not None else sorted({*known} - listed.topics.keys())
        if not unlisted:
            return listed
        named = await self._cluster.metadata(unlisted, operations=True)
        if self._whole is None or self._parts is None or self._parts[0] is not listed or self._parts[1] is not named:
            self._parts = listed, named
            self._whole = replace(listed, topics={**named.topics, **listed.topics})
        return self._whole
