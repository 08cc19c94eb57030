"""What is decided once, when a task is created or modified, and stored with its configuration (kafka-replication.md §1): an alias that
only the peer can tell, the replication factor of topics that we make, and the ids of both clusters, by which a later modification and
other tasks know them again. Called by the job object for control, after the live checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationOptions
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.task import TaskConfig
from smartconnect.engine.job import Resolved
from smartconnect.jobs.kafka_replication.peers import Find, alias_of, apart_from, peer_name
from smartconnect.jobs.kafka_replication.request import directions_of
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import ClusterMetadata

RESOLVE_TIMING: Final = Timing(connect_s=3.0, request_s=3.0, patience_s=3.0)
LOOK_WITHIN_S: Final = 5.0
MOST_REPLICAS: Final = 3


async def resolve(
    current: Cluster,
    peer: Cluster,
    config: TaskConfig,
    earlier: TaskConfig | None,
    options: ReplicationOptions,
    find: Find,
) -> Resolved:
    """`config` completed. What a cluster that does not answer would have to tell stays open if nothing needs it, else it is a problem that
    names the field. `earlier`: the configuration before a modification; the id of a cluster that is the same is kept."""
    ours, theirs = await asyncio.gather(_look(current), _look(peer))
    values = dict(config.source_task)
    before = earlier.source_task if earlier is not None else {}
    values["current_cluster_id"] = ours.cluster_id if ours is not None else str(before.get("current_cluster_id", ""))
    if theirs is not None:
        values["peer_cluster_id"] = theirs.cluster_id
    else:
        same = earlier is not None and peer_name(earlier, find).same_as(peer_name(config, find)) is True
        values["peer_cluster_id"] = str(before.get("peer_cluster_id", "")) if same else ""
    if "cluster_name" not in values and theirs is not None and theirs.cluster_id:
        values["cluster_name"] = apart_from(alias_of(theirs.cluster_id), str(values.get("current_cluster_name", "")))
    replicas = _replicas([theirs if direction is Direction.PUSH else ours for direction in directions_of(config)])
    if "replication_factor" not in values and replicas is not None:
        values["replication_factor"] = replicas
    resolved = replace(config, source_task=values)
    return Resolved(resolved, _problems(resolved, options))


async def _look(cluster: Cluster) -> ClusterMetadata | None:
    """None: it does not answer. The live checks say why, where they run."""
    try:
        async with asyncio.timeout(LOOK_WITHIN_S):
            return await cluster.metadata([])
    except (SmartConnectError, TimeoutError):
        return None


def _replicas(targets: Sequence[ClusterMetadata | None]) -> int | None:
    """min(3, brokers), of the smallest target; None while one of them is not known."""
    known = [len(target.brokers) for target in targets if target is not None]
    return min(MOST_REPLICAS, *known) if known and len(known) == len(targets) else None


def _problems(config: TaskConfig, options: ReplicationOptions) -> list[Problem]:
    needs_alias = config.source_task.get("rename_topic_enabled") is True or options.mm2_topics or options.heartbeats
    if "cluster_name" in config.source_task or not needs_alias:
        return []
    reason = "is required: it is part of names on the target, and the peer does not answer to tell its cluster id instead"
    return [Problem("source_task.cluster_name", reason, ProblemKind.LIVE)]
