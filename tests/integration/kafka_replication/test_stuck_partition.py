"""A target partition of which nobody can know what the open transaction holds costs that transaction, and itself some time; nobody else,
and not the incarnation (kafka-replication.md §6.4). Real brokers; the proxy changes what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from smartconnect.domain.kafka_replication_spec import ReplicationOptions
from smartconnect.jobs.kafka_replication import rests, troubles
from smartconnect.jobs.kafka_replication.runner import ReplicationRunner
from smartconnect.kafka.codes import KafkaCode
from smartconnect.sandbox.kafka import KafkaCluster, KafkaOptions, kafka_cluster
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of
from tests.integration.kafka_replication.under_load import load
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy, KafkaRule, kafka_proxy
from tests.support.mirror import Side, assert_mirrored, eventually_mirrored
from tests.support.records import RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually


class Flow:
    """A topic of one partition and its copy."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, topic: str) -> None:
        self.source, self.target = Side(peer.bootstrap_servers, topic), Side(here.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic)


class Flows:
    """Two topics that one unit copies through a proxy before the target; of `parcels` the leader will say something else than it did."""

    def __init__(self, here: KafkaCluster, peer: KafkaCluster, proxy: KafkaProxy, names: Names) -> None:
        self.orders, self.parcels = (Flow(here, peer, names.topic(name)) for name in ("orders", "parcels"))
        self._proxy = proxy
        topics = [flow.source.topic for flow in self.both]
        spec = spec_of(peer.bootstrap_servers, topics, ReplicationOptions(refresh_interval_s=120, group_sync_interval_s=0.5))
        self.unit = UnitUnderTest(proxy.bootstrap_servers, replace(spec, sync_offsets=True))

    @property
    def both(self) -> Sequence[Flow]:
        return self.orders, self.parcels

    async def written(self, count: int) -> None:
        for flow in self.both:
            await flow.writer.write(count)

    def parcels_have_no_leader(self, api: ApiKey = ApiKey.PRODUCE) -> KafkaRule:
        """What is sent there is stored, and the answer says that it was no leader that got it: as one that steps down before its replicas
        have the batch. Or what is asked there is answered so: as by one that does not know yet that it leads."""
        part = b"\2" + bytes(4)  # one partition, number 0
        stored, moved = (
            self.parcels.target.topic.encode() + part + code.to_bytes(2, "big")
            for code in (KafkaCode.NONE, KafkaCode.NOT_LEADER_OR_FOLLOWER)
        )

        def rewrite(request: Request, answer: bytes) -> bytes:
            return answer.replace(stored, moved)

        return self._proxy.rewrite_answer(api, rewrite, count=None)


async def flowing(here: KafkaCluster, peer: KafkaCluster, proxy: KafkaProxy, names: Names) -> Flows:
    made = Flows(here, peer, proxy, names)
    for flow in made.both:
        await create_topic(flow.source.servers, flow.source.topic)
    return made


@pytest.fixture
async def flows(kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names) -> Flows:
    return await flowing(kafka, peer_kafka, proxied_kafka, names)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "MENDS_FOR_S", 1.0)
    monkeypatch.setattr(troubles, "_STUCK_WITH_IT_S", 0.5)
    monkeypatch.setattr(rests, "_FIRST_REST_S", 0.5)


async def test_a_partition_that_may_be_stored_or_not_rests_and_the_others_go_on(flows: Flows) -> None:
    await a_partition_rests(flows)


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.9.1", "3.3.2"])
async def test_a_partition_rests_also_on_an_older_target(peer_kafka: KafkaCluster, names: Names, version: str) -> None:
    """Before Kafka 4.0 InitProducerId cannot tell our own open transaction from a stranger's."""
    async with kafka_cluster(KafkaOptions(version=version)) as target, kafka_proxy(target) as proxy:
        await a_partition_rests(await flowing(target, peer_kafka, proxy, names))


async def a_partition_rests(flows: Flows) -> None:
    await flows.written(100)
    async with flows.unit.running() as runner:
        await caught_up(runner)
        lie = flows.parcels_have_no_leader()
        for _ in range(3):
            await flows.written(50)
        row = await blocked(runner, flows.parcels.source.topic, "target_unavailable")
        assert row.reason is not None and "NOT_LEADER_OR_FOLLOWER" in row.reason.message and row.position == 100
        await flows.orders.writer.write(50)
        await eventually_mirrored(flows.orders.source, flows.orders.target)
        assert len(await contents(flows.parcels.target)) == 100 and row_of(runner, flows.orders.source.topic).reason is None

        lie.remove()
        await eventually_mirrored(flows.parcels.source, flows.parcels.target)
        await flows.written(50)
        await caught_up(runner)
        for flow in flows.both:
            await assert_mirrored(flow.source, flow.target)
            assert row_of(runner, flow.source.topic).reason is None
    assert flows.unit.ledger.codes == ["target_unavailable"]


async def test_a_new_partition_whose_leader_knows_nothing_of_it_yet_waits_outside_of_transactions(flows: Flows) -> None:
    """As one of thousands that were made at once: for longer than any lane is mended. It goes on by itself as soon as it is led."""
    await flows.written(100)
    stored, unled = flows.parcels_have_no_leader(), flows.parcels_have_no_leader(ApiKey.LIST_OFFSETS)
    async with flows.unit.running() as runner:
        for _ in range(3):
            await flows.orders.writer.write(50)
            await eventually_mirrored(flows.orders.source, flows.orders.target)
        await unled.hit(unled.hits + 20)
        assert await contents(flows.parcels.target) == []
        stored.remove()
        unled.remove()
        await eventually_mirrored(flows.parcels.source, flows.parcels.target)
        await caught_up(runner)
    assert flows.unit.ledger.codes == []


async def test_what_landed_in_an_aborted_transaction_is_copied_again_once(flows: Flows) -> None:
    """The others land batch after batch while the stuck one keeps the transaction from its end; then the incarnation after it agrees."""
    await flows.written(100)
    async with flows.unit.running() as runner:
        await caught_up(runner)
        lie = flows.parcels_have_no_leader()
        await flows.parcels.writer.write(10)
        await lie.hit()
        for _ in range(5):
            await flows.orders.writer.write(100)
        await blocked(runner, flows.parcels.source.topic, "target_unavailable")
        await eventually_mirrored(flows.orders.source, flows.orders.target)
        lie.remove()
        await eventually_mirrored(flows.parcels.source, flows.parcels.target)
        await caught_up(runner)
    await flows.written(20)
    async with flows.unit.running() as runner:
        await caught_up(runner)
        for flow in flows.both:
            await assert_mirrored(flow.source, flow.target)


async def moves_on(runner: ReplicationRunner, flow: Flow) -> None:
    before = row_of(runner, flow.source.topic).position or 0
    await eventually(lambda: (row_of(runner, flow.source.topic).position or 0) > before, what=f"{flow.source.topic} moves on")


@pytest.mark.parametrize("codec", [None, "zstd"], ids=["passed", "recoded"])
async def test_transactions_aborted_again_and_again_under_load_leave_a_mirror(flows: Flows, codec: str | None) -> None:
    """Whatever is fetched, decoded in a thread or on its way when a transaction is aborted."""
    flows.unit.spec = replace(flows.unit.spec, compression=codec)
    async with load(flows.orders.writer), load(flows.parcels.writer), flows.unit.running() as runner:
        await eventually(lambda: row_of(runner, flows.parcels.source.topic).position, what="the first commit")
        for _ in range(3):
            lie = flows.parcels_have_no_leader()
            await blocked(runner, flows.parcels.source.topic, "target_unavailable")
            lie.remove()
            await eventually(lambda: row_of(runner, flows.parcels.source.topic).reason is None, what="it goes on")
            await moves_on(runner, flows.orders)
    async with flows.unit.running() as runner:
        await caught_up(runner)
        for flow in flows.both:
            await assert_mirrored(flow.source, flow.target)


@pytest.mark.usefixtures("looks_at_its_intervals_only")
async def test_a_target_topic_deleted_while_a_batch_waits_for_its_replicas_blocks_its_partition_alone(
    flows: Flows,
) -> None:
    """First its leader says that it is none, then nobody knows the topic."""
    parcels = flows.parcels
    await flows.written(100)
    async with flows.unit.running() as runner:
        await caught_up(runner)
        lie = flows.parcels_have_no_leader()
        await parcels.writer.write(50)
        await lie.hit()
        await delete_topics(parcels.target.servers, [parcels.target.topic])
        lie.remove()
        for _ in range(3):
            await flows.orders.writer.write(50)
            await eventually_mirrored(flows.orders.source, flows.orders.target)
        await blocked(runner, parcels.source.topic, "target_missing")

        await create_topic(parcels.target.servers, parcels.target.topic)
        await eventually_holds(parcels.target, (await contents(parcels.source))[100:])
        await caught_up(runner)
        assert row_of(runner, parcels.source.topic).reason is None
    assert flows.unit.ledger.codes in (["target_missing"], ["target_unavailable", "target_missing"])
