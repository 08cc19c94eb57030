"""What a look makes of brokers that cannot tell for the moment, or never tell rights: cases that a healthy broker does not show."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast
from uuid import UUID

import pytest

from smartconnect.domain.kafka_replication_spec import Direction, Peer, ReplicationSpec
from smartconnect.domain.policies import ConsumerStrategy
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication import topic_limits, topic_view
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.topic_view import TopicView, view_options
from smartconnect.kafka.admin import ConfigValue, Refused, Resource
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.offsets import ListedOffset
from smartconnect.kafka.types import Broker, ClusterMetadata, PartitionInfo, TopicInfo, TopicPartition

TP = TopicPartition("orders", 0)
PARTITION = PartitionInfo(1, 0, (1,), (1,), None)
SPEC = ReplicationSpec(
    topics=("orders",),
    topics_regex=None,
    directions=(Direction.PULL,),
    peer=Peer(None, "unused:9092", "PLAINTEXT", "PLAIN", "", Secret("")),
    current_alias="b",
    peer_alias="a",
    task_num=1,
    strategy=ConsumerStrategy.EARLIEST,
)


def topic(error: KafkaCode | None = None, *, rights: Collection[str] | None = ()) -> TopicInfo:
    partitions = {} if error is not None else {0: PARTITION}
    return TopicInfo("orders", UUID(int=7), partitions, error, False, None if rights is None else frozenset(rights))


class Side:
    """As much of a cluster as a look asks."""

    def __init__(self) -> None:
        self.topic = topic()
        self.limits: dict[str, ConfigValue] | Refused = {"max.message.bytes": ConfigValue("600000", 1, False, False)}
        self.asked = 0
        self.led = True
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def metadata(self, topics: Collection[str] | None, *, operations: bool) -> ClusterMetadata:
        assert operations
        return ClusterMetadata({1: Broker(1, "h", 1, None)}, "id", 1, {"orders": self.topic})


@pytest.fixture
def source() -> Side:
    return Side()


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Side:
    side = Side()

    async def describe(cluster: Side, resources: list[Resource], keys: Collection[str]) -> dict[Resource, object]:
        cluster.asked += 1
        return dict.fromkeys(resources, cluster.limits)

    async def listed(cluster: Side, times: Collection[TopicPartition], isolation: int, *, patient: bool) -> object:
        error = None if cluster.led else KafkaCode.NOT_LEADER_OR_FOLLOWER
        return {tp: ListedOffset(-1 if error else 0, 0, error) for tp in times}

    monkeypatch.setattr(topic_limits, "describe_configs", describe)
    monkeypatch.setattr(topic_view, "list_offsets", listed)
    return side


@pytest.fixture
def view(source: Side, target: Side) -> TopicView:
    options = view_options(SPEC, Direction.PULL, "task", lambda tp: True)
    return TopicView(cast(Cluster, source), cast(Cluster, target), Naming(SPEC, Direction.PULL), options)


@pytest.mark.parametrize("rights", [None, ()])
async def test_broker_that_does_not_tell_rights_is_believed_to_grant_them(
    view: TopicView, source: Side, target: Side, rights: Collection[str] | None
) -> None:
    source.topic = target.topic = topic(rights=rights)
    seen = await view.look()
    assert TP in seen.links and not seen.troubles


async def test_source_that_cannot_tell_for_the_moment_is_as_it_was(view: TopicView, source: Side) -> None:
    before = await view.look()
    source.topic = topic(KafkaCode.LEADER_NOT_AVAILABLE)
    assert (await view.look()).links == before.links


async def test_target_that_cannot_tell_for_the_moment_is_not_made_again(view: TopicView, target: Side) -> None:
    await view.look()
    target.topic = topic(KafkaCode.LEADER_NOT_AVAILABLE)
    seen = await view.look()
    assert list(seen.waiting) == [TP] and seen.pairs["orders"].missing == 0
    target.topic = topic()
    assert TP in (await view.look()).links


async def test_target_that_was_made_waits_until_its_leader_knows_of_it(view: TopicView, target: Side) -> None:
    """Nothing else changes meanwhile, and it is looked at again all the same."""
    target.topic, target.led = topic(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION), False
    assert (await view.look()).waiting == (TP,)
    target.topic = topic()
    for _ in range(2):
        seen = await view.look()
        assert (seen.waiting, dict(seen.links)) == ((TP,), {})
    target.led = True
    seen = await view.look()
    assert (seen.waiting, list(seen.links)) == ((), [TP])


async def test_target_that_is_there_from_the_beginning_is_not_asked_whether_it_is_led(view: TopicView, target: Side) -> None:
    target.led = False
    assert TP in (await view.look()).links


async def test_what_a_broker_refuses_for_good_is_a_trouble_of_the_topic(view: TopicView, target: Side) -> None:
    target.topic = topic(KafkaCode.INVALID_TOPIC_EXCEPTION)
    seen = await view.look()
    assert not seen.links and not seen.waiting
    assert "INVALID_TOPIC_EXCEPTION" in seen.troubles["orders"].message


async def test_limits_are_read_again_when_they_are_old_and_kept_while_they_are_refused(view: TopicView, target: Side) -> None:
    assert (await view.look()).limits["orders"].max_message_bytes == 600_000
    await view.look()
    assert target.asked == 1
    target.now = 61.0
    target.limits = Refused(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION, "")
    assert (await view.look()).limits["orders"].max_message_bytes == 600_000
    target.limits = {"max.message.bytes": ConfigValue("700000", 1, False, False)}
    assert (await view.look()).limits["orders"].max_message_bytes == 700_000
    assert target.asked == 3


async def test_limits_that_may_not_be_read_are_a_trouble_that_names_the_right(view: TopicView, target: Side) -> None:
    target.limits = Refused(KafkaCode.TOPIC_AUTHORIZATION_FAILED, "")
    seen = await view.look()
    assert seen.troubles["orders"].code == "permission_missing" and "DESCRIBE_CONFIGS" in seen.troubles["orders"].message
