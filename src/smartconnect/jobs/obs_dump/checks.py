"""Live checks of a dump (api.md §4.5, obs-dump.md §8, §13): the instance answers, lets us read, commit in transactions and see the topics;
the bucket lets us make, list and abort uploads. All problems together; nothing stays behind.
"""

from __future__ import annotations

import asyncio

from smartconnect.domain.errors import SmartConnectError
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.groups import describe_group
from smartconnect.objectstore import ObjectStore, ProblemCategory, StoreBusy, StoreProblem

_FIELDS = {
    ProblemCategory.CREDENTIALS: ("sink_task.access_key", ProblemKind.STORE_CREDENTIALS),
    ProblemCategory.RIGHT_MISSING: ("sink_task.access_key", ProblemKind.STORE_CREDENTIALS),
    ProblemCategory.BUCKET: ("sink_task.obs_bucket_name", ProblemKind.LIVE),
    ProblemCategory.UNREACHABLE: ("sink_task.obs_bucket_name", ProblemKind.LIVE),
    ProblemCategory.PATH: ("sink_task.obs_path", ProblemKind.LIVE),
}
_SHORTEST_RULE_DAYS = 7


async def check_store(store: ObjectStore, path: str) -> list[Problem]:
    """What the bucket does not allow; a lifecycle rule that removes unfinished uploads too early is a warning (F1)."""
    problems = [_problem(found) for found in await store.check(path)]
    if any(not problem.warning for problem in problems):
        return problems
    try:
        days = await store.abort_incomplete_days(path)
    except StoreBusy:
        return problems
    if days is not None and days < _SHORTEST_RULE_DAYS:
        reason = (
            f"the bucket's lifecycle rule aborts unfinished uploads after {days} days: keep it at {_SHORTEST_RULE_DAYS} or more"
        )
        problems.append(Problem("sink_task.obs_bucket_name", reason, ProblemKind.LIVE, warning=True))
    return problems


async def check_instance(cluster: Cluster, spec: ObsDumpSpec) -> list[Problem]:
    """What the instance does not allow, and named topics that it does not have."""
    try:
        metadata, _ = await asyncio.gather(
            cluster.metadata(spec.topics or None, operations=True), describe_group(cluster, "smartconnect.check")
        )
    except SmartConnectError as error:
        return [Problem("instance_id", str(error), ProblemKind.KAFKA_CLUSTER)]
    problems = []
    for name in spec.topics:
        topic = metadata.topics.get(name)
        if topic is None or topic.error is KafkaCode.UNKNOWN_TOPIC_OR_PARTITION:
            problems.append(Problem("topics", f"{name} does not exist", ProblemKind.TOPIC_MISSING))
        elif topic.error is KafkaCode.TOPIC_AUTHORIZATION_FAILED or (
            topic.operations is not None and "READ" not in topic.operations
        ):
            problems.append(Problem("topics", f"no right to READ and DESCRIBE topic {name}", ProblemKind.KAFKA_CLUSTER))
    return problems


def _problem(found: StoreProblem) -> Problem:
    field, kind = _FIELDS[found.category]
    return Problem(field, found.reason, kind, warning=found.warning)
