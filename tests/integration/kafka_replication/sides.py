"""Two clusters as unit 0 of a pull sees them, and small helpers of the tests about target topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smartconnect.domain.kafka_replication_spec import Direction, Peer, ReplicationSpec
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.progress import Level
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.target_topics import TargetTopics, TopicWishes
from smartconnect.jobs.kafka_replication.topic_configs import mark_of
from smartconnect.jobs.kafka_replication.topic_view import Seen, TopicView, view_options
from smartconnect.kafka.admin import (
    ConfigValue,
    Refused,
    Resource,
    ResourceKind,
    describe_configs,
    incremental_alter_configs,
)
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.waiting import eventually

TASK = "3c0ac4d1-0000-0000-0000-000000000001"


def spec(topics: str = "", *, regex: str | None = None, **fields: object) -> ReplicationSpec:
    """A pull of these topics, `a` is the peer's alias."""
    peer = Peer(None, "unused:9092", "PLAINTEXT", "PLAIN", "", Secret(""))
    values: dict[str, object] = {
        "topics": tuple(topics.split(",")) if topics else (),
        "topics_regex": regex,
        "directions": (Direction.PULL,),
        "peer": peer,
        "current_alias": "b",
        "peer_alias": "a",
        "task_num": 1,
        "strategy": ConsumerStrategy.EARLIEST,
        **fields,
    }
    return ReplicationSpec(**values)  # type: ignore[arg-type]


class Sides:
    """Both clusters as one unit 0 sees them."""

    def __init__(self, source: Cluster, target: Cluster, spec: ReplicationSpec, task_id: str = TASK) -> None:
        self.source, self.target, self.events = source, target, list[tuple[Level, str, str]]()
        direction = Direction.PULL
        self.view = TopicView(source, target, Naming(spec, direction), view_options(spec, direction, task_id, lambda tp: True))
        wishes = TopicWishes(mark_of(task_id, direction), spec.replication_factor, spec.options.sync_topic_configs)
        self.topics = TargetTopics(source, target, wishes, lambda *event: self.events.append(event))

    async def made(self) -> Seen:
        """Create and grow until every partition has its target."""

        async def complete() -> Seen | None:
            assert await self.topics.create_and_grow(await self.view.look()) == {}
            seen = await self.view.look()
            return seen if not seen.waiting else None

        return await eventually(complete, what="every partition has its target")

    async def until(self, condition: Callable[[Seen], object]) -> Seen:
        async def holds() -> Seen | None:
            seen = await self.view.look()
            return seen if condition(seen) else None

        return await eventually(holds)

    async def synced(self, topic: str, expected: Mapping[str, str | None]) -> None:
        """Sync until the target topic has these values; None: the default."""

        async def does() -> bool:
            await self.topics.sync_configs(await self.view.look())
            found = await configs_of(self.target, topic)
            return all(is_value(found[name], value) for name, value in expected.items())

        await eventually(does, what=f"{topic} has {expected}")


def is_value(found: ConfigValue, value: str | None) -> bool:
    return found.is_default if value is None else found.value == value


async def configs_of(cluster: Cluster, topic: str) -> dict[str, ConfigValue]:
    resource = Resource(ResourceKind.TOPIC, topic)
    found = (await describe_configs(cluster, [resource]))[resource]
    assert not isinstance(found, Refused), found
    return found


async def set_configs(cluster: Cluster, topic: str, changes: Mapping[str, str | None]) -> None:
    assert set((await incremental_alter_configs(cluster, {Resource(ResourceKind.TOPIC, topic): changes})).values()) == {None}


def plain(server: KafkaCluster) -> Cluster:
    return Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests")
