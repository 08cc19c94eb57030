"""A target topic that is deleted and made again between two batches of one partition that are on their way: the new topic takes the later
one, for it knows nothing of the producer (kafka-replication.md §6.4). Real brokers; the proxy holds the requests up meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from smartconnect.domain.kafka_replication_spec import Delivery, ReplicationOptions
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import create_when_gone
from tests.integration.kafka_replication.stories import contents, eventually_holds, row_of
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import Side, assert_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("looks_at_its_intervals_only")


class Flow:
    """A topic of one partition and its copy; what is written comes in batches of ten records."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, topic: str) -> None:
        self.source, self.target = Side(peer.bootstrap_servers, topic), Side(here.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic, 1, WriterOptions(client={"batch.num.messages": 10}))


class Remaking:
    """Counts the requests that bring something for a topic: the first of them finds it deleted, the second made again."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.came = 0

    async def __call__(self, request: Request) -> None:
        if self._side.topic.encode() not in request.frame:
            return
        self.came += 1
        if self.came == 1:
            await delete_topics(self._side.servers, [self._side.topic])
            await eventually(self._is_gone, what=f"{self._side.topic} is gone")
        elif self.came == 2:
            await create_when_gone(self._side.servers, self._side.topic)
            assert not any((await self._side.read()).values()), "its leader answers, and it is empty"

    async def _is_gone(self) -> bool:
        admin = AdminClient({"bootstrap.servers": self._side.servers, "log_level": 0})
        return self._side.topic not in (await asyncio.to_thread(admin.list_topics, timeout=30)).topics


class Flows:
    """Two topics that one unit copies, which looks at topics when it starts only. `parcels` will be made again."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, proxy: KafkaProxy, names: Names) -> None:
        self.orders, self.parcels = (Flow(here, peer, names.topic(name)) for name in ("orders", "parcels"))
        self._servers, self._peer, self._proxy = proxy.bootstrap_servers, peer.bootstrap_servers, proxy

    def unit(self, delivery: Delivery) -> UnitUnderTest:
        options = ReplicationOptions(refresh_interval_s=120, delivery=delivery, group_sync_interval_s=0.5)
        topics = [flow.source.topic for flow in (self.orders, self.parcels)]
        return UnitUnderTest(self._servers, replace(spec_of(self._peer, topics, options), sync_offsets=True))

    async def parcels_are_made_again_under_way(self) -> None:
        """Five batches are seen by the unit at once; returns when the new topic was asked to take some of them."""
        remaking = Remaking(self.parcels.target)
        self._proxy.on_request(ApiKey.PRODUCE, remaking, count=None)
        await self.parcels.writer.write_transaction(50)
        await eventually(lambda: remaking.came > 2, 60, what="batches come to the new topic")


@pytest.fixture
async def flows(kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names) -> Flows:
    made = Flows(kafka, peer_kafka, proxied_kafka, names)
    for flow in (made.orders, made.parcels):
        await create_topic(flow.source.servers, flow.source.topic)
        await flow.writer.write(100)
    return made


async def test_a_batch_that_a_new_topic_takes_before_its_elder_is_aborted_and_nothing_is_lost_or_twice(flows: Flows) -> None:
    unit, parcels = flows.unit(Delivery.EXACTLY_ONCE), flows.parcels
    async with unit.running() as runner:
        await caught_up(runner)
        await flows.parcels_are_made_again_under_way()
        await flows.orders.writer.write(50)
        await caught_up(runner)
        await eventually_holds(parcels.target, (await contents(parcels.source))[100:])
        await assert_mirrored(flows.orders.source, flows.orders.target)
        everything = await parcels.target.read(isolation="read_uncommitted")
        assert len(everything[0]) > 50, "no batch came before its elder: nothing was tested"
        assert row_of(runner, parcels.source.topic).reason is None
    await parcels.writer.write(10)
    async with unit.running() as runner:
        await caught_up(runner)
        await eventually_holds(parcels.target, (await contents(parcels.source))[100:])


async def test_at_least_once_sends_again_what_a_new_topic_took_before_its_elder_and_the_others_go_on(flows: Flows) -> None:
    unit, parcels = flows.unit(Delivery.AT_LEAST_ONCE), flows.parcels
    async with unit.running() as runner:
        await caught_up(runner)
        await flows.parcels_are_made_again_under_way()
        await flows.orders.writer.write(50)
        await caught_up(runner)
        wanted, found = (await contents(parcels.source))[100:], await contents(parcels.target)
        assert len(found) > 50, "no batch came before its elder: nothing was tested"
        assert found[-50:] == wanted and set(found) == set(wanted)
        await assert_mirrored(flows.orders.source, flows.orders.target)
        assert row_of(runner, parcels.source.topic).reason is None
