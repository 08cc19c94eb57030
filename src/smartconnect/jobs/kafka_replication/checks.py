"""Live checks of a replication (api.md §4.5, kafka-replication.md §10, §16), both clusters side by side: they answer and let us in, are not
one cluster where names would meet, have the named topics, and give us the rights that each side needs. All problems together; nothing
stays behind. Called by the job object for create, modify and validate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable, SmartConnectError
from smartconnect.domain.fields import quoted
from smartconnect.domain.kafka_replication_spec import Direction, ReplicationSpec
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.jobs.kafka_replication.group_selection import group_selector
from smartconnect.jobs.kafka_replication.naming import Naming, selection_of
from smartconnect.jobs.kafka_replication.positions_topic import TOPIC as POSITIONS
from smartconnect.jobs.kafka_replication.request_rules import ONE_CLUSTER, separates
from smartconnect.jobs.kafka_replication.target_checks import Target, check_target, is_missing
from smartconnect.kafka.admin import ClusterDescription, describe_cluster
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.groups import list_groups
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import ClusterMetadata, TopicInfo

CHECK_TIMING: Final = Timing(connect_s=4.0, request_s=4.0, patience_s=4.0)
"""What is not said within 4 s of looking and 5 s of each question then comes too late for `check_timeout_s`."""
SOURCE_RIGHTS: Final = ("READ", "DESCRIBE", "DESCRIBE_CONFIGS")
LONGEST_NAME: Final = 249
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class View:
    """What one side tells about itself and the topics that concern us."""

    cluster: Cluster
    what: str
    metadata: ClusterMetadata
    description: ClusterDescription


async def check(current: Cluster, peer: Cluster, spec: ReplicationSpec) -> list[Problem]:
    """What either cluster does not allow. A specification without directions (validate) is checked for reach and login alone."""
    names = _names(spec)
    peer_field = "source_task.instance_id" if spec.peer.instance_id is not None else "source_task.bootstrap_servers"

    def of_peer(setting: str) -> str:
        return peer_field if setting == "bootstrap_servers" else f"source_task.{setting}"

    looks = await asyncio.gather(
        _look(current, "the instance", names, lambda _: "instance_id"), _look(peer, "the peer", names, of_peer)
    )
    problems = [look for look in looks if isinstance(look, Problem)]
    ours, theirs = (look if isinstance(look, View) else None for look in looks)
    same = ours is not None and theirs is not None and ours.description.cluster_id == theirs.description.cluster_id
    if same and not (spec.rename or separates(",".join(spec.topics) or None, spec.topics_regex, spec.mapping)):
        problems.append(Problem(peer_field, ONE_CLUSTER, ProblemKind.LIVE))
    sides = [
        (Naming(spec, each, same_cluster=same), *((theirs, ours) if each is Direction.PULL else (ours, theirs)))
        for each in spec.directions
    ]
    sources = [source for _, source, _ in sides]
    problems += _missing_topics(spec, [source for source in sources if source is not None]) if None not in sources else []
    found = await asyncio.gather(*(_check_direction(spec, naming, source, target) for naming, source, target in sides))
    problems += [problem for of_direction in found for problem in of_direction]
    return list(dict.fromkeys(problems))


def _names(spec: ReplicationSpec) -> list[str] | None:
    """Every name that may concern us on either side; None where a pattern selects."""
    if spec.topics_regex:
        return None
    names = {POSITIONS, *spec.topics}
    for direction in spec.directions:
        naming = Naming(spec, direction)
        names |= {name for name in map(naming.target_of, spec.topics) if len(name) <= LONGEST_NAME}
    return sorted(names)


async def _look(cluster: Cluster, what: str, names: list[str] | None, field_of: Callable[[str], str]) -> View | Problem:
    """The side, or why it cannot be looked at; `field_of`: the request's field for a setting of the connection."""
    try:
        metadata = await cluster.metadata(names, operations=True)  # alone: the first metadata tell of a wrong protocol
        description = await describe_cluster(cluster)
    except (AuthenticationFailed, ClusterUnreachable) as error:
        return Problem(field_of(error.setting), str(error), ProblemKind.KAFKA_CLUSTER)
    except SmartConnectError as error:
        return Problem(field_of("bootstrap_servers"), str(error), ProblemKind.KAFKA_CLUSTER)
    return View(cluster, what, metadata, description)


def _missing_topics(spec: ReplicationSpec, sources: Iterable[View]) -> list[Problem]:
    """Names that no source side has: nearly always a slip."""
    views = list(sources)
    problems = []
    for name in spec.topics if views else ():
        if all(is_missing(view.metadata.topics.get(name)) for view in views):
            field = "source_task.topics_mapping" if name in spec.mapping else "topics"
            where = " or ".join(dict.fromkeys(view.what for view in views))
            problems.append(Problem(field, f"{name} does not exist on {where}", ProblemKind.TOPIC_MISSING))
    return problems


async def _check_direction(spec: ReplicationSpec, naming: Naming, source: View | None, target: View | None) -> list[Problem]:
    """One direction, of the sides that could be looked at."""
    problems: list[Problem] = []
    topics: dict[str, TopicInfo] = {}
    if source is not None:
        seen = source.metadata.topics.values()
        topics = {topic.name: topic for topic in seen if not is_missing(topic) and naming.selects(topic.name)}
        problems += _source_rights(source, topics)
    named = [name for name in topics or selection_of(spec).names if naming.selects(name)]
    targets = {name: naming.target_of(name) for name in named}
    problems += [_too_long(name, target) for name, target in targets.items() if len(target) > LONGEST_NAME]
    groups: list[str] = []
    if spec.sync_offsets and source is not None:
        groups, refused = await _groups(source, spec)
        problems += refused
    if target is not None:
        names = [name for name in targets.values() if len(name) <= LONGEST_NAME]
        problems += await check_target(spec, Target(target.cluster, target.what, target.metadata, names, groups))
    return problems


def _source_rights(source: View, topics: Mapping[str, TopicInfo]) -> list[Problem]:
    problems = []
    for name, topic in topics.items():
        lacking: tuple[str, ...] = ()
        if topic.error is KafkaCode.TOPIC_AUTHORIZATION_FAILED:
            lacking = SOURCE_RIGHTS
        elif topic.operations:  # empty: the brokers do not tell, for who sees a topic may describe it
            lacking = tuple(right for right in SOURCE_RIGHTS if right not in topic.operations)
        if lacking:
            reason = f"no right to {', '.join(lacking)} on topic {quoted(name)} of {source.what}"
            problems.append(Problem("topics", reason, ProblemKind.KAFKA_CLUSTER))
    return problems[:_MOST_NAMED]


async def _groups(source: View, spec: ReplicationSpec) -> tuple[list[str], list[Problem]]:
    """Groups whose offsets may be translated, and what keeps us from seeing them."""
    field, operations = "source_task.sync_consumer_offsets_enabled", source.description.operations
    if operations is not None and "DESCRIBE" not in operations:
        return [], [Problem(field, f"no right to DESCRIBE the cluster of {source.what}", ProblemKind.KAFKA_CLUSTER)]
    try:
        groups = await list_groups(source.cluster)
    except SmartConnectError as error:
        return [], [Problem(field, str(error), ProblemKind.KAFKA_CLUSTER)]
    return sorted(filter(group_selector(spec.options), groups)), []


def _too_long(name: str, target: str) -> Problem:
    reason = (
        f"{quoted(name)} is not replicated: its name on the target would have {len(target)} characters, Kafka allows {LONGEST_NAME}"
    )
    return Problem("topics", reason, ProblemKind.LIVE, warning=True)
