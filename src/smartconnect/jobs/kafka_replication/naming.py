"""Which topics one direction of a task copies, and what they are called on the target (kafka-replication.md §1, §8). Pure. A naming rule
has a canonical text, which `i/` records keep, so that another task can tell later where a producer's records came from.

Guarantees: two selected topics never get one name, no topic is copied onto itself, and what was renamed on its way is not sent back.
Called by planning, checks and conflicts, by discovery (`topic_view`) and by the loop guard (`producer_ids`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.topics import INTERNAL_PREFIX, TopicSelection
from smartconnect.jobs.topic_pattern import compile_pattern

INTERNAL_SUFFIX: Final = "internal"
HEARTBEATS: Final = "heartbeats"
IDENTITY: Final = "identity"
_PREFIX: Final = "prefix:"
_MAP: Final = "map:"


class Naming:
    """One direction of one task. `same_cluster`: both sides are one Kafka cluster, told by its cluster id."""

    def __init__(self, spec: ReplicationSpec, direction: Direction, *, same_cluster: bool = False) -> None:
        self._source_alias, self._target_alias = spec.aliases(direction)
        self._selection = selection_of(spec)
        self._rename = spec.rename
        self._right_sides = frozenset(spec.mapping.values()) - spec.mapping.keys()
        self._not_back = {self._target_alias, self._source_alias} if same_cluster else {self._target_alias}
        self._same_cluster = same_cluster
        self._heartbeats = spec.options.heartbeats
        self.rule: Final = rule_of(spec, direction)

    def selects(self, topic: str) -> bool:
        """Whether a topic of the source is copied. Never: names that start with "__" or end with "internal", copies of our heartbeats;
        with rename what came from the target; unlisted topics whose name a mapping gives to another one."""
        if self._heartbeats and topic == HEARTBEATS:
            return True
        if is_internal(topic) or not self._selection.selects(topic):
            return False
        if self._rename and not self._not_back.isdisjoint(topic.split(".")[:-1]):
            return False
        if self._heartbeats and topic in (f"{self._source_alias}.{HEARTBEATS}", f"{self._target_alias}.{HEARTBEATS}"):
            return False
        if topic in self._right_sides:
            return False
        return not (self._same_cluster and self.target_of(topic) == topic)

    def target_of(self, topic: str) -> str:
        """The name on the target. It may be longer than the 249 characters that Kafka allows: an error of that topic alone."""
        if self._heartbeats and topic == HEARTBEATS:
            return f"{self._source_alias}.{HEARTBEATS}"
        return target_under(self.rule, topic)


def selection_of(spec: ReplicationSpec) -> TopicSelection:
    """The topics that the user names, by list or by pattern, before our own rules leave some out."""
    if spec.topics_regex:
        return TopicSelection(names=frozenset(), matches=compile_pattern(spec.topics_regex))
    return TopicSelection(names=frozenset(spec.topics))


def is_internal(topic: str) -> bool:
    """Names that are never copied: Kafka's and tools' own, ours included (they start with "__" or end with "internal")."""
    return topic.startswith(INTERNAL_PREFIX) or topic.endswith(INTERNAL_SUFFIX)


def rule_of(spec: ReplicationSpec, direction: Direction) -> str:
    """The canonical text of the rule: "identity", "prefix:<source alias>", or "map:" and canonical JSON."""
    if spec.rename:
        return f"{_PREFIX}{spec.aliases(direction)[0]}"
    if spec.mapping:
        return _MAP + json.dumps(dict(spec.mapping), sort_keys=True, separators=(",", ":"))
    return IDENTITY


def target_under(rule: str, topic: str) -> str:
    """What a producer with this rule writes a source topic as. ValueError for a text that is no rule."""
    if rule == IDENTITY:
        return topic
    if rule.startswith(_PREFIX):
        return f"{rule.removeprefix(_PREFIX)}.{topic}"
    return _mapping(rule)[0].get(topic, topic)


def source_under(rule: str, target_topic: str) -> str | None:
    """Which source topic a producer with this rule writes as `target_topic`; None if there is none. ValueError for a text that is no
    rule."""
    if rule == IDENTITY:
        return target_topic
    if rule.startswith(_PREFIX):
        prefix = f"{rule.removeprefix(_PREFIX)}."
        return target_topic.removeprefix(prefix) if len(target_topic) > len(prefix) and target_topic.startswith(prefix) else None
    forward, inverse = _mapping(rule)
    return inverse.get(target_topic, None if target_topic in forward else target_topic)


@lru_cache(maxsize=256)
def _mapping(rule: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """(forward, inverse) of a "map:" rule."""
    if not rule.startswith(_MAP):
        raise ValueError(f"{rule[:64]!r} is no naming rule")
    try:
        forward = json.loads(rule.removeprefix(_MAP))
    except RecursionError:
        forward = None
    if not isinstance(forward, dict) or not all(isinstance(name, str) for pair in forward.items() for name in pair):
        raise ValueError(f"{rule[:64]!r} is no naming rule")
    return forward, {target: source for source, target in forward.items()}
