"""What is decided once for a (run, revision) before any unit starts: the units of each direction, and where "latest" begins
(kafka-replication.md §1, Start). Called by the job object for the engine.

`latest` is the last stable offset of all partitions selected at the run's beginning; a modification resolves it for partitions of topics
that it adds. Topics that appear by themselves later have no stored start and are copied from their earliest record.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Final

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.planning import PlanLayout, Planned, Start
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.topics import TopicSelection
from smartconnect.jobs.kafka_replication.naming import Naming, selection_of
from smartconnect.jobs.topic_pattern import selection
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition

SELECTION_FACT: Final = "selection"


def layout(directions: Collection[Direction], task_num: int) -> PlanLayout:
    """`task_num` units for each direction, prefixes "pull" and "push"."""
    return PlanLayout(tuple(direction.value for direction in directions), task_num)


async def plan(
    current: Cluster, peer: Cluster, spec: ReplicationSpec, known: Collection[Start], facts: Mapping[str, str]
) -> Planned:
    """Units, starts and what the next plan must know: the selection. Asks the clusters only for `latest`."""
    starts: list[Start] = []
    if spec.strategy is ConsumerStrategy.LATEST:
        ours, theirs = await asyncio.gather(current.metadata([]), peer.metadata([]))
        same = ours.cluster_id == theirs.cluster_id
        for direction in spec.directions:
            source = peer if direction is Direction.PULL else current
            starts += await _latest(source, spec, Naming(spec, direction, same_cluster=same), direction, known, facts)
    chosen = json.dumps({"topics": ",".join(spec.topics) or None, "topics_regex": spec.topics_regex})
    return Planned(layout(spec.directions, spec.task_num), starts, {SELECTION_FACT: chosen})


async def _latest(
    source: Cluster,
    spec: ReplicationSpec,
    naming: Naming,
    direction: Direction,
    known: Collection[Start],
    facts: Mapping[str, str],
) -> list[Start]:
    before = _earlier_selection(facts)
    metadata = await source.metadata(selection_of(spec).names or None)
    resolved = {(start.topic, start.partition) for start in known if start.prefix == direction.value}
    new = [
        TopicPartition(name, number)
        for name, topic in metadata.topics.items()
        if topic.error is None and naming.selects(name) and not (before is not None and before.selects(name))
        for number in topic.partitions
        if (name, number) not in resolved
    ]
    found = await list_offsets(source, dict.fromkeys(new, LATEST), READ_COMMITTED)
    return [Start(direction.value, tp.topic, tp.partition, listed.offset) for tp, listed in found.items() if listed.error is None]


def _earlier_selection(facts: Mapping[str, str]) -> TopicSelection | None:
    stored = facts.get(SELECTION_FACT)
    if stored is None:
        return None
    chosen = json.loads(stored)
    return selection(chosen["topics"], chosen["topics_regex"])
