"""The two ends of one direction as `verify` sees them: which records count on each, which offsets a position promises, and what makes a
comparison impossible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from smartconnect.domain.errors import PermissionMissing
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec, Timestamps
from smartconnect.domain.task import Task
from smartconnect.domain.verification import FindingKind
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.position_codec import StoredPosition
from smartconnect.jobs.kafka_replication.producer_ids import Origins, ProducerLoops
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.jobs.kafka_replication.verify.align import Stretch
from smartconnect.jobs.kafka_replication.verify.log import PartitionLog, fetcher_of
from smartconnect.kafka.admin import Resource, ResourceKind, describe_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import BrokerRefused
from smartconnect.kafka.log_scan import log_bounds
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Batch, DigestPlan, Kind, Place

_LAST_OFFSET: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of the task with clients for both ends."""

    task: Task
    spec: ReplicationSpec
    direction: Direction
    source: Cluster
    target: Cluster


class Copied(NamedTuple):
    """A partition and what its position says of it."""

    link: Link
    position: StoredPosition


class Gone(Exception):
    """A side that the comparison needs; what to tell of it."""

    def __init__(self, kind: FindingKind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


class Sides:
    """Of one way; `open` before anything else, `close` at the end."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._source_origins = Origins(way.source, None if len(way.spec.directions) > 1 else lambda missing: None)
        self._target_origins = Origins(way.target, self._cannot_tell)
        self._all_ours = False
        self._source, self._target = fetcher_of(way.source), fetcher_of(way.target)

    async def open(self) -> Naming:
        """Ask both clusters who they are; the names that this gives."""
        source_id = (await self._way.source.metadata([])).cluster_id
        self._target_id = (await self._way.target.metadata([])).cluster_id
        self._loops = ProducerLoops(self._source_origins, self._target_id)
        return Naming(self._way.spec, self._way.direction, same_cluster=source_id == self._target_id)

    async def close(self) -> None:
        await self._source.close()
        await self._target.close()

    def _cannot_tell(self, missing: PermissionMissing) -> None:
        """Without the right to read who writes on the target nobody can be told apart there."""
        self._all_ours = True

    def source_log(self, link: Link) -> PartitionLog:
        """All that the direction has to copy: not what came from where it would go."""
        spec = self._way.spec
        loop = Place(self._target_id, link.target.topic) if spec.provenance_header else None
        append_time = spec.options.timestamps is Timestamps.SEEN
        plan = DigestPlan(0, _LAST_OFFSET, append_time_is_create_time=append_time, loop=loop)

        async def keep(rows: Sequence[Batch]) -> Sequence[Batch]:
            looped = await self._loops.judge(_Linked(link), rows)
            return rows if looped is None else [row for row in rows if row.producer_id < 0 or not looped(row.producer_id)]

        return PartitionLog(self._source, link.source, plan, keep)

    def target_log(self, link: Link) -> PartitionLog:
        """What this direction has written; everything, where we may not read who writes."""
        us = self._way.task.id, self._way.direction

        async def keep(rows: Sequence[Batch]) -> Sequence[Batch]:
            found = await self._target_origins.of({row.producer_id for row in rows if row.kind is Kind.DATA})
            if self._all_ours:
                return rows
            ours = {producer for producer, origin in found.items() if (origin.task, origin.direction) == us}
            return [row for row in rows if row.producer_id in ours]

        plan = DigestPlan(0, _LAST_OFFSET, append_time_is_create_time=False)
        return PartitionLog(self._target, link.target, plan, keep)

    async def stretches(self, copied: Copied, source: PartitionLog, target: PartitionLog) -> tuple[Stretch, Stretch]:
        """What there is to compare on both sides. Gone."""
        link, position = copied
        _must_be_the_same_topics(copied)
        start, end = await _bounds(self._way.source, link.source, FindingKind.EXPIRED, "the source does not have it any more")
        what = f"the target does not have {link.target}"
        target_start, target_end = await _bounds(self._way.target, link.target, FindingKind.DIFFERS, what)
        if end < position.next_source:
            what = f"the source ends at {end}, before our position {position.next_source}: an election cut it"
            raise Gone(FindingKind.EXPIRED, what)
        if target_end < position.next_target:
            what = f"{link.target} ends at {target_end}, before offset {position.next_target} that we had reached: its end is lost"
            raise Gone(FindingKind.DIFFERS, what)
        end = position.next_source
        begins = min(max(position.start or 0, start), end)
        reached = max(position.next_target, target_start)
        return Stretch(source, begins, end, start), Stretch(target, target_start, reached, target_start)

    async def compacted(self, link: Link) -> str | None:
        """The side whose cleaner removes records that the other may still have."""
        way = self._way
        for cluster, topic, name in ((way.source, link.source.topic, "source"), (way.target, link.target.topic, "target")):
            resource = Resource(ResourceKind.TOPIC, topic)
            found = (await describe_configs(cluster, [resource])).get(resource)
            policy = found.get("cleanup.policy") if isinstance(found, dict) else None
            if policy is not None and "compact" in (policy.value or ""):
                return f"the {name} topic"
        return None


class _Linked(NamedTuple):
    link: Link


async def _bounds(cluster: Cluster, tp: TopicPartition, kind: FindingKind, what: str) -> tuple[int, int]:
    """(log start, high watermark). Gone of this kind where the cluster does not have the partition."""
    try:
        return await log_bounds(cluster, tp)
    except BrokerRefused as refused:
        if refused.kafka_code is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise Gone(kind, what) from None
        raise


def _must_be_the_same_topics(copied: Copied) -> None:
    link, position = copied
    if None not in (link.source_topic_id, position.source_topic_id) and link.source_topic_id != position.source_topic_id:
        raise Gone(FindingKind.EXPIRED, "the source topic was made again since: our position speaks of the one before")
    if None not in (link.target_topic_id, position.target_topic_id) and link.target_topic_id != position.target_topic_id:
        raise Gone(FindingKind.DIFFERS, f"{link.target.topic} was made again since we wrote to it: the copies are gone")
