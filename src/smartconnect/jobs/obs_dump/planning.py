"""What is decided once for a (run, revision) before any unit starts: the units, and where "latest" begins (obs-dump.md §7, start).

`latest` is resolved for all partitions selected at the run's beginning; a modification resolves it for partitions of topics that it adds.
Topics that appear by themselves later have no stored start and are dumped from their earliest record.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from smartconnect.domain.planning import PlanLayout, Planned, Start
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.task import TaskConfig
from smartconnect.domain.topics import TopicSelection
from smartconnect.jobs.obs_dump.request import strategy_of, stripped_path, units_of
from smartconnect.jobs.topic_pattern import selection
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition

PREFIX = "dump"


def layout(config: TaskConfig) -> PlanLayout:
    """One unit for each share of the partitions."""
    return PlanLayout((PREFIX,), units_of(config))


async def plan(cluster: Cluster, config: TaskConfig, known: Collection[Start], facts: Mapping[str, str]) -> Planned:
    """Units, starts and what the next plan must know: the selection and the path."""
    latest = strategy_of(config) is ConsumerStrategy.LATEST
    starts = await _latest(cluster, config, known, facts) if latest else []
    chosen = json.dumps({"topics": config.topics, "topics_regex": config.topics_regex})
    return Planned(layout(config), starts, {"obs_path": stripped_path(config), "selection": chosen})


async def _latest(cluster: Cluster, config: TaskConfig, known: Collection[Start], facts: Mapping[str, str]) -> list[Start]:
    wanted, before = selection(config.topics, config.topics_regex), _earlier_selection(facts)
    metadata = await cluster.metadata(wanted.names or None)
    resolved = {(start.topic, start.partition) for start in known}
    new = [
        TopicPartition(name, number)
        for name, topic in metadata.topics.items()
        if topic.error is None and wanted.selects(name) and not (before is not None and before.selects(name))
        for number in topic.partitions
        if (name, number) not in resolved
    ]
    found = await list_offsets(cluster, dict.fromkeys(new, LATEST), READ_COMMITTED)
    return [Start(PREFIX, tp.topic, tp.partition, listed.offset) for tp, listed in found.items() if listed.error is None]


def _earlier_selection(facts: Mapping[str, str]) -> TopicSelection | None:
    stored = facts.get("selection")
    if stored is None:
        return None
    chosen = json.loads(stored)
    return selection(chosen["topics"], chosen["topics_regex"])
