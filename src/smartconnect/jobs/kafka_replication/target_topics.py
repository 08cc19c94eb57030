"""Makes the target's topics what the source's need: creates, grows, keeps configurations alike (kafka-replication.md §9). Used by unit 0 of
a direction, nobody else. Nothing is ever deleted, no topic shrinks, and what the target refuses concerns one topic or one configuration:
the rest is done, and the user is told once in an incarnation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from smartconnect.domain.progress import Level
from smartconnect.jobs.kafka_replication.topic_configs import configs_of_new, differences, for_older_broker, named_in
from smartconnect.jobs.kafka_replication.topic_view import Pair, Seen, Trouble, refused_trouble
from smartconnect.kafka.admin import (
    ConfigValue,
    NewTopic,
    Refused,
    Resource,
    ResourceKind,
    create_partitions,
    create_topics,
    describe_configs,
    incremental_alter_configs,
)
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import RETRIABLE, KafkaCode

_AT_ONCE = 50
_REPLICAS = 3
_REFUSES_CONFIG = frozenset({KafkaCode.INVALID_CONFIG, KafkaCode.POLICY_VIOLATION, KafkaCode.INVALID_REQUEST})
_PASSES = RETRIABLE | {KafkaCode.UNKNOWN_TOPIC_OR_PARTITION}
"""The topic is being made or deleted: the next look tells."""

Configs = Mapping[str, ConfigValue]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicWishes:
    """`mark`: `topic_configs.mark_of`; `replication_factor` None: min(3, brokers); `sync_all`: configurations of all topics are kept
    alike, not only of those that we made."""

    mark: str
    replication_factor: int | None
    sync_all: bool


class TargetTopics:
    """One incarnation's. `tell` is the ledger's `event`; `created` counts the topics made."""

    def __init__(self, source: Cluster, target: Cluster, wishes: TopicWishes, tell: Callable[[Level, str, str], None]) -> None:
        self._source, self._target, self._wishes, self._tell = source, target, wishes, tell
        self._told: set[str] = set()
        self._dropped: set[tuple[str, str, str | None]] = set()
        self._lacks: set[str] = set()
        self.created = 0

    async def create_and_grow(self, seen: Seen) -> dict[str, Trouble]:
        """Make what `seen` misses; the next look shows it. Gives, by source topic, why targets cannot be made at all. What cannot grow is
        only told: the partitions that are there go on."""
        needing = [pair for pair in seen.pairs.values() if pair.missing]
        troubles: dict[str, Trouble] = {}
        for pairs in _chunks([pair for pair in needing if pair.target is None]):
            troubles |= await self._create(pairs, seen.brokers)
        for pairs in _chunks([pair for pair in needing if pair.target is not None]):
            self.tell(await self._grow(pairs))
        self.tell(troubles)
        return troubles

    def tell(self, troubles: Mapping[str, Trouble]) -> None:
        """Topics that are not copied, also those of which no partition was ever taken up: an event for each cause, once."""
        for trouble in troubles.values():
            self._tell_once(Level.ERROR, *trouble)

    async def sync_configs(self, seen: Seen) -> None:
        """Make configurations alike where the task may, and say which of the other topics' are unfit."""
        existing = [pair for pair in seen.pairs.values() if pair.target_name in seen.limits]
        for pair in existing:
            limits = seen.limits[pair.target_name]
            if not limits.ours and limits.unfit is not None:
                self._tell_once(Level.WARNING, "target_topic_unfit", f"topic {pair.target_name} on the target: {limits.unfit}")
        ours = [pair for pair in existing if self._wishes.sync_all or seen.limits[pair.target_name].ours]
        for pairs in _chunks(ours):
            await self._sync(pairs)

    # -- create and grow ---------------------------------------------------------------------------------------------------

    async def _create(self, pairs: Sequence[Pair], brokers: int) -> dict[str, Trouble]:
        factor = self._wishes.replication_factor or min(_REPLICAS, max(1, brokers))
        troubles: dict[str, Trouble] = {}
        wanted: dict[str, NewTopic] = {}
        configs = await _describe(self._source, [pair.source.name for pair in pairs])
        for pair in pairs:
            found = configs[pair.source.name]
            if isinstance(found, Refused):
                if found.code not in _PASSES:
                    troubles[pair.source.name] = _untold(pair.source.name, "source", found)
            else:
                made_with = self._without_unknown(configs_of_new(found, self._wishes.mark))
                wanted[pair.target_name] = NewTopic(pair.target_name, len(pair.source.partitions), factor, made_with)
        refused = await self._create_these(wanted)
        for pair in pairs:
            if pair.target_name in refused:
                why = refused[pair.target_name]
                troubles[pair.source.name] = refused_trouble(f"create topic {pair.target_name} on the target", why)
        return troubles

    async def _create_these(self, wanted: dict[str, NewTopic]) -> dict[str, Refused]:
        """Each answer leaves fewer topics, or topics with fewer configurations."""
        refused: dict[str, Refused] = {}
        while wanted:
            again: dict[str, NewTopic] = {}
            for name, why in (await create_topics(self._target, list(wanted.values()))).items():
                if why is None:
                    self.created += 1
                elif why.code is not KafkaCode.TOPIC_ALREADY_EXISTS:
                    simpler = self._simpler(wanted[name], why)
                    if simpler is not None:
                        again[name] = simpler
                    else:
                        refused[name] = why
            wanted = again
        return refused

    def _simpler(self, topic: NewTopic, why: Refused) -> NewTopic | None:
        """The topic without the configuration that the target refuses by name; None where it refuses something else."""
        name = named_in(why.message, topic.configs) if why.code in _REFUSES_CONFIG else None
        if name is None:
            return None
        if for_older_broker(topic.configs, name) is not None:
            self._lacks.add(name)
            return replace(topic, configs=self._without_unknown(topic.configs))
        self._tell_dropped(topic.name, name, topic.configs[name], why)
        return replace(topic, configs={key: value for key, value in topic.configs.items() if key != name})

    def _without_unknown(self, configs: Mapping[str, str]) -> Mapping[str, str]:
        """In the words of this target, as far as it has shown what it lacks."""
        for name in self._lacks:
            configs = for_older_broker(configs, name) or configs
        return configs

    async def _grow(self, pairs: Sequence[Pair]) -> dict[str, Trouble]:
        answers = await create_partitions(self._target, {pair.target_name: len(pair.source.partitions) for pair in pairs})
        troubles: dict[str, Trouble] = {}
        for pair in pairs:
            why = answers.get(pair.target_name)
            if why is not None and why.code not in _PASSES and why.code is not KafkaCode.INVALID_PARTITIONS:  # has grown meanwhile
                doing = f"grow topic {pair.target_name} on the target to {len(pair.source.partitions)} partitions"
                troubles[pair.source.name] = refused_trouble(doing, why)
        return troubles

    # -- configurations ----------------------------------------------------------------------------------------------------

    async def _sync(self, pairs: Sequence[Pair]) -> None:
        source = await _describe(self._source, [pair.source.name for pair in pairs])
        target = await _describe(self._target, [pair.target_name for pair in pairs])
        wanted: dict[str, dict[str, str | None]] = {}
        for pair in pairs:
            here, there = source[pair.source.name], target[pair.target_name]
            if isinstance(here, Refused):
                self._tell_unsynced(_untold(pair.source.name, "source", here), here)
            elif isinstance(there, Refused):
                self._tell_unsynced(_untold(pair.target_name, "target", there), there)
            else:
                changes = differences(here, there).items()
                wanted[pair.target_name] = {
                    name: value for name, value in changes if (pair.target_name, name, value) not in self._dropped
                }
        await self._alter({name: changes for name, changes in wanted.items() if changes})

    async def _alter(self, wanted: dict[str, dict[str, str | None]]) -> None:
        """Each answer leaves fewer topics, or topics with fewer changes."""
        while wanted:
            resources = {Resource(ResourceKind.TOPIC, name): changes for name, changes in wanted.items()}
            again: dict[str, dict[str, str | None]] = {}
            for (_, topic), why in (await incremental_alter_configs(self._target, resources)).items():
                if why is None:
                    continue
                name = named_in(why.message, wanted[topic]) if why.code in _REFUSES_CONFIG else None
                if name is None:
                    doing = f"change the configuration of topic {topic} on the target (ALTER_CONFIGS)"
                    self._tell_unsynced(refused_trouble(doing, why), why)
                    continue
                self._tell_dropped(topic, name, wanted[topic][name], why)
                if rest := {key: value for key, value in wanted[topic].items() if key != name}:
                    again[topic] = rest
            wanted = again

    # -- what the user is told ---------------------------------------------------------------------------------------------

    def _tell_dropped(self, topic: str, name: str, value: str | None, why: Refused) -> None:
        self._dropped.add((topic, name, value))
        setting = f"{name}={value}" if value is not None else f"the default of {name}"
        self._tell_once(Level.WARNING, "config_refused", f"topic {topic} on the target goes without {setting}: {why}")

    def _tell_unsynced(self, trouble: Trouble, why: Refused) -> None:
        if why.code not in _PASSES:
            self._tell_once(Level.WARNING, *trouble)

    def _tell_once(self, level: Level, code: str, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._tell(level, code, message)


def _untold(topic: str, side: str, why: Refused) -> Trouble:
    return refused_trouble(f"tell the configuration of topic {topic} on the {side} (DESCRIBE_CONFIGS)", why)


async def _describe(cluster: Cluster, topics: Sequence[str]) -> dict[str, Configs | Refused]:
    found = await describe_configs(cluster, [Resource(ResourceKind.TOPIC, name) for name in topics])
    return {name: configs for (_, name), configs in found.items()}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
