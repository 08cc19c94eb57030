"""Whether a cluster can be the target of a replication (kafka-replication.md §10): brokers for the replication factor, rights on topics
that exist and to make those that do not, transactions, groups. It only asks, and leaves nothing but the transactional id
`smartconnect.check`, which brokers forget by themselves. Called by `checks` for each direction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import ClusterUnreachable, Fenced, PermissionMissing, SmartConnectError
from smartconnect.domain.fields import quoted
from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationSpec
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.topics import MAX_TOPICS
from smartconnect.jobs.kafka_replication.positions_topic import TOPIC as POSITIONS
from smartconnect.kafka import messages
from smartconnect.kafka.admin import NewTopic, Refused, create_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import RETRIABLE, UNAUTHORIZED, KafkaCode, failure
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.groups import describe_group
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import ClusterMetadata, TopicInfo

TARGET_RIGHTS: Final = ("WRITE", "READ", "DESCRIBE", "ALTER", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")
POSITIONS_RIGHTS: Final = ("WRITE", "READ", "DESCRIBE")
CHECK_ID: Final = "smartconnect.check"
STEP_WITHIN_S: Final = 5.0
_MOST_NAMED = 5
_MADE_MEANWHILE: Final = KafkaCode.TOPIC_ALREADY_EXISTS
"""Somebody, perhaps a unit of the same task, has made the topic since the metadata were read."""


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster to write to, what it tells, the names that we would use there, and the source's groups."""

    cluster: Cluster
    what: str
    metadata: ClusterMetadata
    topics: Sequence[str]
    groups: Sequence[str]


async def check_target(spec: ReplicationSpec, target: Target) -> list[Problem]:
    """What it does not allow."""
    brokers = len(target.metadata.brokers)
    if spec.replication_factor is not None and spec.replication_factor > brokers:
        reason = f"{spec.replication_factor} is more than the {brokers} brokers of {target.what}"
        return [Problem("source_task.replication_factor", reason, ProblemKind.REPLICATION_FACTOR)]
    found = await asyncio.gather(_creation(spec, target), _delivery(spec, target), _group_rights(target))
    return [*_rights(target), *(problem for problems in found for problem in problems)]


def _rights(target: Target) -> list[Problem]:
    """As far as the brokers tell; they do for names of topics that do not exist yet, too."""
    problems = []
    for name in (POSITIONS, *target.topics):
        topic, wanted = target.metadata.topics.get(name), POSITIONS_RIGHTS if name == POSITIONS else TARGET_RIGHTS
        lacking: tuple[str, ...] = ()
        if topic is not None and topic.error is KafkaCode.TOPIC_AUTHORIZATION_FAILED:
            lacking = wanted
        elif topic is not None and topic.operations:  # empty: the brokers do not tell
            lacking = tuple(right for right in wanted if right not in topic.operations)
        if lacking:
            problems.append(_refused(f"no right to {', '.join(lacking)} on topic {quoted(name)} of {target.what}"))
    return problems[:_MOST_NAMED]


async def _creation(spec: ReplicationSpec, target: Target) -> list[Problem]:
    """Whether the topics that are missing could be made: the broker itself is asked, and makes none."""
    known = target.metadata.topics
    missing = [name for name in (POSITIONS, *target.topics) if is_missing(known.get(name))][:MAX_TOPICS]
    if not missing:
        return []
    replicas = spec.replication_factor or min(3, len(target.metadata.brokers))
    wanted = [NewTopic(name, 1, replicas) for name in missing]
    try:
        async with asyncio.timeout(STEP_WITHIN_S):
            answers = await create_topics(target.cluster, wanted, validate_only=True)
    except (SmartConnectError, TimeoutError) as error:
        return [_refused(f"whether topics can be made on {target.what} cannot be told: {_words(error)}")]
    refusals = {name: refused for name, refused in answers.items() if refused is not None and refused.code is not _MADE_MEANWHILE}
    return [_not_made(target, name, refused) for name, refused in refusals.items()][:_MOST_NAMED]


def _not_made(target: Target, name: str, refused: Refused) -> Problem:
    if refused.code in UNAUTHORIZED:
        return _refused(f"no right to CREATE topic {quoted(name)} on {target.what}")
    return _refused(f"topic {quoted(name)} could not be made on {target.what}: {refused}")


async def _delivery(spec: ReplicationSpec, target: Target) -> list[Problem]:
    """Exactly once needs transactions, at least once an idempotent producer."""
    exactly_once = spec.options.delivery is Delivery.EXACTLY_ONCE
    try:
        async with asyncio.timeout(STEP_WITHIN_S):
            await (_transactions(spec, target.cluster) if exactly_once else _idempotence(target.cluster))
    except (PermissionMissing, ClusterUnreachable) as error:
        return [_refused(str(error))]
    except (SmartConnectError, TimeoutError) as error:
        if not exactly_once:
            return [_refused(f"{target.what} gives no producer id: {_words(error)}")]
        reason = f"{target.what} refuses transactions: {_words(error)}; set kafka_replication.delivery = at_least_once"
        return [Problem("options.delivery", reason, ProblemKind.KAFKA_CLUSTER)]
    return []


async def _transactions(spec: ReplicationSpec, cluster: Cluster) -> None:
    producer = TransactionalId(cluster, CHECK_ID, timeout_ms=spec.options.transaction_timeout_ms)
    with contextlib.suppress(Fenced):  # another check at the same time: it may use transactions, so may we
        await producer.initialise()


async def _idempotence(cluster: Cluster) -> None:
    doing = "give a producer id (before Kafka 3.0 this needs IDEMPOTENT_WRITE on the cluster)"
    fields = {"transactional_id": None, "transaction_timeout_ms": 0, "producer_id": -1, "producer_epoch": -1}

    async def attempt() -> None:
        answer = await (await cluster.any_connection()).call(messages.INIT_PRODUCER_ID, fields)
        code = failure(answer.error_code)
        if code in RETRIABLE:  # a broker that gives its first one has to ask for a block of them
            raise TryAgain(doing, code)
        if code is not None:
            raise refusal(doing, code)

    await cluster.persist(attempt)


async def _group_rights(target: Target) -> list[Problem]:
    """Of some groups whose offsets would be written."""
    found = await asyncio.gather(*(_group_right(target, group) for group in target.groups[:_MOST_NAMED]))
    return [problem for problem in found if problem is not None]


async def _group_right(target: Target, group: str) -> Problem | None:
    field = "source_task.sync_consumer_offsets_enabled"
    try:
        async with asyncio.timeout(STEP_WITHIN_S):
            described = await describe_group(target.cluster, group)
    except PermissionMissing:
        reason = f"no right to READ, DESCRIBE on group {quoted(group)} of {target.what}"
        return Problem(field, reason, ProblemKind.KAFKA_CLUSTER)
    except (SmartConnectError, TimeoutError) as error:
        return Problem(field, f"group {quoted(group)} of {target.what}: {_words(error)}", ProblemKind.KAFKA_CLUSTER)
    if described.operations and "READ" not in described.operations:
        return Problem(field, f"no right to READ on group {quoted(group)} of {target.what}", ProblemKind.KAFKA_CLUSTER)
    return None


def is_missing(topic: TopicInfo | None) -> bool:
    """Whether a look at the cluster says that a topic does not exist."""
    return topic is None or topic.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION


def _refused(reason: str) -> Problem:
    return Problem("source_task", reason, ProblemKind.KAFKA_CLUSTER)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, SmartConnectError) else f"no answer within {STEP_WITHIN_S:g} s"
