"""What one direction of a replication sees on both sides: which source partition goes to which target partition, which of them wait for
theirs to be made, and which topics cannot be copied at all, with the reason (kafka-replication.md §1, §9). Every unit has one and looks
every refresh interval; looking changes nothing.

A topic with a trouble is that topic's affair: all others go on. A partition of a troubled topic is not gone, it is blocked; gone is what
is in none of `links`, `waiting` and `troubles`. Ids tell a topic that was deleted and made again from the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from smartconnect.domain.errors import PartitionBlocked, PermissionMissing
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.jobs.kafka_replication.naming import HEARTBEATS, Naming
from smartconnect.jobs.kafka_replication.source_topics import SourceTopics
from smartconnect.jobs.kafka_replication.topic_configs import mark_of
from smartconnect.jobs.kafka_replication.topic_limits import LimitsReader, TopicLimits
from smartconnect.kafka.admin import Refused
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import RETRIABLE, UNAUTHORIZED, KafkaCode
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.offsets import LATEST, READ_UNCOMMITTED, list_offsets
from smartconnect.kafka.types import ClusterMetadata, TopicInfo, TopicPartition

_LONGEST_NAME = 249


class Link(NamedTuple):
    """A source partition and where it goes. Ids are None where brokers do not tell them."""

    source: TopicPartition
    target: TopicPartition
    source_topic_id: UUID | None
    target_topic_id: UUID | None


class Trouble(NamedTuple):
    """Why a topic is not copied: a stable code, and a sentence that says what to do."""

    code: str
    message: str


class Pair(NamedTuple):
    """A source topic and its target; `target` is None while that does not exist. `undecided`: the target cannot tell for the moment."""

    source: TopicInfo
    target_name: str
    target: TopicInfo | None
    undecided: bool = False

    @property
    def missing(self) -> int:
        """Partitions that the target still needs."""
        return 0 if self.undecided else max(0, len(self.source.partitions) - self._there)

    @property
    def _there(self) -> int:
        return 0 if self.target is None else len(self.target.partitions)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. `links` and `waiting` (for a target that is made and whose leader knows it) are of the unit's own partitions, by source;
    `pairs` (by source topic) and `limits` (by target topic) are of all that the direction selects; `troubles` is by source topic;
    `brokers` counts the target's."""

    links: Mapping[TopicPartition, Link] = field(default_factory=dict)
    waiting: Collection[TopicPartition] = ()
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    limits: Mapping[str, TopicLimits] = field(default_factory=dict)
    brokers: int = 0


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`topics`: the names selected, None where a pattern selects; `mine`: whether a source partition is this unit's; `mark`:
    `topic_configs.mark_of`; limits of target topics are read again every `limits_age_s`."""

    topics: Collection[str] | None
    mine: Callable[[TopicPartition], bool]
    mark: str
    limits_age_s: float


def view_options(spec: ReplicationSpec, direction: Direction, task_id: str, mine: Callable[[TopicPartition], bool]) -> ViewOptions:
    """What a unit of this task looks at."""
    own = (HEARTBEATS,) if spec.options.heartbeats else ()
    topics = None if spec.topics_regex else (*spec.topics, *own)
    return ViewOptions(topics, mine, mark_of(task_id, direction), spec.options.config_sync_interval_s)


class TopicView:
    """One for a unit. `known`: topics that were copied before."""

    def __init__(self, source: Cluster, target: Cluster, naming: Naming, options: ViewOptions, known: Collection[str] = ()) -> None:
        self._target, self._naming, self._options = target, naming, options
        self._source, self._known = SourceTopics(source, options.topics), known
        self._limits = LimitsReader(target, options.mark, options.limits_age_s)
        self._source_seen: ClusterMetadata | None = None
        self._chosen: Mapping[str, str] = {}
        self._troubles: Mapping[str, Trouble] = {}
        self._last: tuple[ClusterMetadata, ClusterMetadata, Mapping[str, object]] | None = None
        self._seen = Seen()

    async def look(self) -> Seen:
        """Both sides as they are now. Raises Retryable when one of them does not answer; the same object while nothing changes."""
        source = await self._source.read(self._known)
        if source is not self._source_seen:
            self._chosen, self._troubles = self._choose(source)
            self._source_seen = source
            self._known = {*self._chosen, *self._troubles}
        target = await self._target.metadata(sorted(self._chosen.values()), operations=True)
        existing = {name: info.topic_id for name, info in target.topics.items() if info.error is None}
        limits = await self._limits.read(existing)
        if self._last is not None and self._last[0] is source and self._last[1] is target and self._last[2] == limits:
            return self._seen
        self._last = (source, target, limits)
        self._seen = await self._without_unled(self._match(source, target, limits))
        return self._seen

    def forget_limits(self, target_topic: str) -> None:
        """Somebody has changed them: the next look reads them again."""
        self._limits.forget(target_topic)

    async def _without_unled(self, seen: Seen) -> Seen:
        """Metadata shows the leader of a partition that was just made before that leader knows of it: some ms, seconds where thousands are
        made at once (§6.1). Such a partition still waits: in a transaction it would hold all others up. A leader that is away is another
        matter: that shows when something is sent."""
        before = set(self._seen.waiting)
        made = {tp: link.target for tp, link in seen.links.items() if tp in before}
        if not made:
            return seen
        found = await list_offsets(self._target, dict.fromkeys(made.values(), LATEST), READ_UNCOMMITTED, patient=False)
        unled = {tp for tp, target in made.items() if found[target].error is KafkaCode.NOT_LEADER_OR_FOLLOWER}
        if not unled:
            return seen
        self._last = None
        links = {tp: link for tp, link in seen.links.items() if tp not in unled}
        return replace(seen, links=links, waiting=(*seen.waiting, *unled))

    def _choose(self, source: ClusterMetadata) -> tuple[dict[str, str], dict[str, Trouble]]:
        """Source topics that can be copied → their targets, and why the others cannot."""
        chosen: dict[str, str] = {}
        troubles: dict[str, Trouble] = {}
        for name, info in source.topics.items():
            if not self._naming.selects(name):
                continue
            if info.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION or (info.error in RETRIABLE and name not in self._seen.pairs):
                continue
            target = self._naming.target_of(name)
            trouble = _unreadable(info) or _unnameable(name, target)
            if trouble is not None:
                troubles[name] = trouble
            else:
                chosen[name] = target
        return chosen, troubles

    def _match(self, source: ClusterMetadata, target: ClusterMetadata, limits: Mapping[str, TopicLimits | Refused]) -> Seen:
        troubles = dict(self._troubles)
        links: dict[TopicPartition, Link] = {}
        waiting: list[TopicPartition] = []
        pairs: dict[str, Pair] = {}
        known = {name: found for name, found in limits.items() if not isinstance(found, Refused)}
        for name, target_name in self._chosen.items():
            trouble = _unwritable(target.topics[target_name], limits.get(target_name))
            if trouble is not None:
                troubles[name] = trouble
                continue
            pair = pairs[name] = self._pair(source.topics[name], target.topics[target_name])
            there = pair.target.partitions if pair.target is not None and target_name in known else ()
            for link in self._links(pair):
                if link.target.partition in there:
                    links[link.source] = link
                else:
                    waiting.append(link.source)
        return Seen(links, tuple(waiting), troubles, pairs, known, len(target.brokers))

    def _pair(self, source: TopicInfo, target: TopicInfo) -> Pair:
        """A side that cannot tell for the moment is as it was at the last look."""
        last = self._seen.pairs.get(source.name)
        if source.error in RETRIABLE and last is not None:
            source = last.source
        if target.error in RETRIABLE:
            return Pair(source, target.name, None if last is None else last.target, undecided=True)
        return Pair(source, target.name, target if target.error is None else None)

    def _links(self, pair: Pair) -> list[Link]:
        ids = pair.source.topic_id, None if pair.target is None else pair.target.topic_id
        partitions = (TopicPartition(pair.source.name, number) for number in pair.source.partitions)
        return [Link(tp, TopicPartition(pair.target_name, tp.partition), *ids) for tp in partitions if self._options.mine(tp)]


def refused_trouble(doing: str, why: Refused) -> Trouble:
    """What to tell of something that a broker refuses to do for a topic."""
    error = refusal(doing, why.code, why.message)
    return Trouble(error.code, str(error))


def unreadable_trouble(topic: str) -> Trouble:
    """What to tell of a topic that we may not read, whoever is refused: a look or a fetch."""
    return _no_right(f"topic {topic} on the source", "DESCRIBE, READ and DESCRIBE_CONFIGS")


def _unreadable(info: TopicInfo) -> Trouble | None:
    if info.error in UNAUTHORIZED:
        return unreadable_trouble(info.name)
    if info.error is not None and info.error not in RETRIABLE:
        return refused_trouble(f"describe topic {info.name} on the source", Refused(info.error, ""))
    if info.operations and "READ" not in info.operations:  # no operations at all: a broker that does not tell them
        return unreadable_trouble(info.name)
    return None


def _unwritable(info: TopicInfo, limits: TopicLimits | Refused | None) -> Trouble | None:
    if info.error in UNAUTHORIZED:
        return _no_right(
            f"topic {info.name} on the target", "CREATE, WRITE, READ, DESCRIBE, ALTER, DESCRIBE_CONFIGS and ALTER_CONFIGS"
        )
    if info.error is not None and info.error is not KafkaCode.UNKNOWN_TOPIC_OR_PARTITION and info.error not in RETRIABLE:
        return refused_trouble(f"describe topic {info.name} on the target", Refused(info.error, ""))
    if info.operations and "WRITE" not in info.operations:
        return _no_right(f"topic {info.name} on the target", "WRITE, READ, ALTER, DESCRIBE_CONFIGS and ALTER_CONFIGS")
    if isinstance(limits, Refused) and limits.code in UNAUTHORIZED:
        return _no_right(f"topic {info.name} on the target", "DESCRIBE_CONFIGS and ALTER_CONFIGS")
    return None


def _no_right(what: str, rights: str) -> Trouble:
    return Trouble(PermissionMissing.code, f"rights are missing on {what}: grant the user {rights} there")


def _unnameable(name: str, target: str) -> Trouble | None:
    if len(target) <= _LONGEST_NAME:
        return None
    return Trouble(
        PartitionBlocked.code,
        f"topic {name} would be called {target[:40]}… on the target, {len(target)} characters, and Kafka allows {_LONGEST_NAME}: "
        "take a shorter alias, or map the topic to another name",
    )
