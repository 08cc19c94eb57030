"""A target topic that somebody deletes concerns its own partitions; the others go on in the same incarnation (kafka-replication.md §5,
§11)."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("looks_at_its_intervals_only")


class Flow:
    """A topic of one partition and its copy."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, topic: str) -> None:
        self.source, self.target = Side(peer.bootstrap_servers, topic), Side(here.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic)

    async def target_is_deleted(self) -> None:
        """Of a unit that does not look soon: it would make the topic again."""
        await delete_topics(self.target.servers, [self.target.topic])
        admin = AdminClient({"bootstrap.servers": self.target.servers, "log_level": 0})

        def is_gone() -> bool:
            return self.target.topic not in admin.list_topics(timeout=30).topics

        await eventually(lambda: asyncio.to_thread(is_gone), what=f"{self.target.topic} is gone")


Flows = tuple[Flow, Flow]


@pytest.fixture
async def flows(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Flows:
    made = Flow(kafka, peer_kafka, names.topic("orders")), Flow(kafka, peer_kafka, names.topic("parcels"))
    for flow in made:
        await create_topic(flow.source.servers, flow.source.topic)
    return made


def unit_of(flows: Flows, refresh_interval_s: float) -> UnitUnderTest:
    options = ReplicationOptions(refresh_interval_s=refresh_interval_s)
    orders = flows[0]
    return UnitUnderTest(orders.target.servers, spec_of(orders.source.servers, [flow.source.topic for flow in flows], options))


async def written(flows: Flows, count: int) -> None:
    for flow in flows:
        await flow.writer.write(count)


async def test_a_deleted_target_topic_blocks_its_partition_until_it_is_there_again(flows: Flows) -> None:
    """Nobody looks at topics meanwhile: the transaction alone tells that one of its partitions is gone."""
    orders, parcels = flows
    unit = unit_of(flows, refresh_interval_s=120)
    await written(flows, 100)
    async with unit.running() as runner:
        await caught_up(runner)
        await parcels.target_is_deleted()
        for _ in range(3):
            await written(flows, 50)
            await eventually_mirrored(orders.source, orders.target)
        row = await blocked(runner, parcels.source.topic, "target_missing")
        assert (row.position, row_of(runner, orders.source.topic).reason) == (100, None)

        await create_topic(parcels.target.servers, parcels.target.topic)
        await eventually_holds(parcels.target, (await contents(parcels.source))[100:])
        await caught_up(runner)
        assert row_of(runner, parcels.source.topic).reason is None
    assert unit.ledger.codes == ["target_missing"]
    await written(flows, 10)
    async with unit.running() as runner:
        await caught_up(runner)
        await eventually_mirrored(orders.source, orders.target)


async def test_only_a_deleted_target_topic_to_write_to_ends_nothing(flows: Flows) -> None:
    orders, parcels = flows
    unit = unit_of(flows, refresh_interval_s=120)
    await written(flows, 100)
    async with unit.running() as runner:
        await caught_up(runner)
        await parcels.target_is_deleted()
        await parcels.writer.write(50)
        await blocked(runner, parcels.source.topic, "target_missing")
        await orders.writer.write(50)
        await eventually_mirrored(orders.source, orders.target)
    assert unit.ledger.codes == ["target_missing"]


async def test_a_deleted_target_topic_is_made_again_beside_the_others(flows: Flows) -> None:
    orders, parcels = flows
    unit = unit_of(flows, refresh_interval_s=0.5)
    await written(flows, 100)
    async with unit.running() as runner:
        await caught_up(runner)
        await delete_topics(parcels.target.servers, [parcels.target.topic])
        await written(flows, 50)
        await eventually_mirrored(orders.source, orders.target)

        async def goes_on() -> bool:
            return (await contents(parcels.target))[-50:] == (await contents(parcels.source))[-50:]

        await eventually(goes_on, 60, what="the new topic has what came since", poll_s=0.2)
        await caught_up(runner)
        assert len(await contents(parcels.target)) == 50
        assert row_of(runner, parcels.source.topic).reason is None
    assert "target_recreated" in unit.ledger.codes and set(unit.ledger.codes) <= {"target_missing", "target_recreated"}
