"""Topics are fetched by their ids (KIP-516): one that is deleted and made again is another topic, however quickly it was done."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from smartconnect.kafka import messages
from smartconnect.kafka.admin import NewTopic, create_topics, delete_topics
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetch_codec import BY_ID_FROM, LAST_BY_NAME
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaOptions, kafka_cluster
from tests.conftest import MakeTopic
from tests.integration.kafka.conftest import CountingAdmission, Produce, collect, offsets_of, produce_to, reached
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Scene:
    """What is fetched goes through `proxy`; what is done to topics goes by `admin`, beside it."""

    proxy: KafkaProxy
    admin: Cluster
    admission: CountingAdmission
    produce: Produce
    topic: str
    other: str

    @property
    def own(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, 0), TopicPartition(self.topic, 1)]

    async def write(self, count: int) -> None:
        for tp in self.own:
            await asyncio.to_thread(self.produce, self.topic, count, partition=tp.partition)

    async def topic_id(self) -> UUID | None:
        return (await self.admin.metadata([self.topic])).topics[self.topic].topic_id

    async def made(self) -> bool:
        return (await create_topics(self.admin, [NewTopic(self.topic, 2, 1)]))[self.topic] is None


@pytest.fixture
async def scene(
    proxied_kafka: KafkaProxy, cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> Scene:
    return Scene(proxied_kafka, cluster, admission, produce, await make_topic(partitions=2), await make_topic("other"))


WAYS = pytest.mark.parametrize("above", [200, 1], ids=["each listed", "in a session"])


@WAYS
async def test_topic_made_again_between_two_fetches_of_a_healthy_connection_is_not_read_on(scene: Scene, above: int) -> None:
    got, again = await made_again_between_two_fetches(scene, above)
    assert {part.tp: part.error for part in got} == dict.fromkeys(scene.own, KafkaCode.INCONSISTENT_TOPIC_ID)
    assert all(part.fetch_offset == 100 and not part.records for part in got)
    assert all(offsets_of(part for part in again if part.tp == tp) == list(range(300)) for tp in scene.own)


@WAYS
async def test_by_name_the_broker_reads_on_a_topic_made_again_as_the_old_one(
    scene: Scene, above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would miss if it hit nothing; and why older brokers leave this gap."""
    monkeypatch.setattr(messages, "FETCH", replace(messages.FETCH, highest=LAST_BY_NAME))
    got, _ = await made_again_between_two_fetches(scene, above)
    assert {part.tp: part.error for part in got} == dict.fromkeys(scene.own)
    assert all(part.fetch_offset == 100 and part.records for part in got)


async def test_position_in_whatever_topic_has_the_name_goes_on_in_the_one_that_was_made_again(scene: Scene) -> None:
    got, _ = await made_again_between_two_fetches(scene, above=1, told=False)
    assert {part.tp: part.error for part in got} == dict.fromkeys(scene.own)


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.9.1", "3.3.2"])
async def test_older_kafka_knows_topics_by_their_ids_too(version: str, admission: CountingAdmission) -> None:
    async with (
        kafka_cluster(KafkaOptions(version=version)) as server,
        kafka_proxy(server) as proxy,
        Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as admin,
    ):
        await create_topics(admin, [NewTopic("t", 2, 1), NewTopic("other", 1, 1)])
        produce = functools.partial(produce_to, server.bootstrap_servers)
        for above in (200, 1):
            scene = Scene(proxy, admin, admission, produce, "t", "other")
            got, _ = await made_again_between_two_fetches(scene, above)
            assert {part.tp: part.error for part in got} == dict.fromkeys(scene.own, KafkaCode.INCONSISTENT_TOPIC_ID)
            proxy.forget_rules()
            assert await delete_topics(admin, ["t"]) == {"t": None}
            await eventually(scene.made, what="the topic is made again")


async def made_again_between_two_fetches(
    scene: Scene, above: int, *, told: bool = True
) -> tuple[list[FetchedPartition], list[FetchedPartition]]:
    """What is delivered of both partitions behind 100 records of the old topic; and from the start of the new one, which has 300. `told`:
    the fetcher is told which topic the positions are of."""
    proxy, own, other = scene.proxy, scene.own, TopicPartition(scene.other, 0)
    await scene.write(100)
    options = FetchOptions(max_wait_ms=100, idle_wait_ms=100, connections_per_leader=1, session_above=above)
    async with (
        Cluster(proxy.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
        Fetcher(cluster, options, scene.admission) as fetcher,
    ):
        old = await scene.topic_id() if told else None
        for tp in own:
            fetcher.assign(tp, 0, topic_id=old)
        fetcher.assign(other, 0)
        await collect(fetcher, reached(dict.fromkeys(own, 100)))
        fetches = proxy.hold_request(ApiKey.FETCH, count=None)
        await fetches.reached()
        connections = proxy.connections
        await delete_topics(scene.admin, [scene.topic])
        await eventually(scene.made, what="the topic is made again")
        await scene.write(300)
        fetches.release()
        got = await collect(fetcher, lambda got: {part.tp for part in got} == set(own))
        new = await scene.topic_id()
        for tp in own:
            fetcher.assign(tp, 0, topic_id=new)
        again = await collect(fetcher, reached(dict.fromkeys(own, 300)))
        await asyncio.to_thread(scene.produce, scene.other, 10)
        await collect(fetcher, reached({other: 10}))
        assert proxy.connections == connections, "it was one healthy connection"
    return got, again


async def test_partition_whose_topic_id_is_not_known_is_fetched_by_name_and_so_are_those_beside_it(
    proxied_kafka: KafkaProxy,
    admission: CountingAdmission,
    make_topic: MakeTopic,
    produce: Produce,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = await make_topic(partitions=4)
    parts = [TopicPartition(topic, number) for number in range(4)]
    known, unknown = parts[:3], parts[3]
    versions: list[int] = []
    proxied_kafka.on_request(ApiKey.FETCH, lambda request: versions.append(request.api_version), count=None)
    options = FetchOptions(max_wait_ms=100, idle_wait_ms=100, connections_per_leader=1, session_above=2)
    async with (
        Cluster(proxied_kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
        Fetcher(cluster, options, admission) as fetcher,
    ):
        for tp in known:
            fetcher.assign(tp, 0)
            await asyncio.to_thread(produce, topic, 50, partition=tp.partition)
        await collect(fetcher, reached(dict.fromkeys(known, 50)))
        assert set(versions) == {BY_ID_FROM}
        monkeypatch.setattr(messages, "METADATA", replace(messages.METADATA, highest=9))
        cluster.leaders.invalidate([topic])
        fetcher.assign(unknown, 0)
        await eventually(lambda: versions[-3:] == [LAST_BY_NAME] * 3)
        for tp in parts:
            await asyncio.to_thread(produce, topic, 50, partition=tp.partition)
        await collect(fetcher, reached({unknown: 50, **dict.fromkeys(known, 100)}))
        fetcher.drop(unknown)
        await eventually(lambda: versions[-3:] == [BY_ID_FROM] * 3)
        for tp in known:
            await asyncio.to_thread(produce, topic, 50, partition=tp.partition)
        got = await collect(fetcher, reached(dict.fromkeys(known, 150)))
        assert offsets_of(part for part in got if part.tp == known[0]) == list(range(100, 150))


async def test_session_that_the_broker_knows_by_other_names_is_replaced(
    proxied_kafka: KafkaProxy, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(partitions=4)
    parts = [TopicPartition(topic, number) for number in range(4)]
    options = FetchOptions(max_wait_ms=100, idle_wait_ms=100, connections_per_leader=1, session_above=2)
    async with (
        Cluster(proxied_kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
        Fetcher(cluster, options, admission) as fetcher,
    ):
        for tp in parts:
            fetcher.assign(tp, 0)
        refusal = proxied_kafka.rewrite_answer(ApiKey.FETCH, _session_refused)
        await refusal.hit()
        connections = proxied_kafka.connections
        for tp in parts:
            await asyncio.to_thread(produce, topic, 50, partition=tp.partition)
        await collect(fetcher, reached(dict.fromkeys(parts, 50)))
        assert proxied_kafka.connections == connections and fetcher.troubles == []


def _session_refused(request: Request, answer: bytes) -> bytes:
    """An answer of FETCH_SESSION_TOPIC_ID_ERROR without partitions: correlation id, tags, throttle time, code, session, topics, tags."""
    code = KafkaCode.FETCH_SESSION_TOPIC_ID_ERROR.to_bytes(2, "big")
    return answer[:5] + b"\0" * 4 + code + b"\0" * 4 + b"\x01" + b"\0"


async def test_partition_dropped_and_assigned_again_between_two_requests_stays_in_the_session(
    cluster: Cluster, admission: CountingAdmission, make_topic: MakeTopic, produce: Produce
) -> None:
    topic = await make_topic(partitions=4)
    parts = [TopicPartition(topic, number) for number in range(4)]
    options = FetchOptions(max_wait_ms=100, idle_wait_ms=1000, connections_per_leader=1, session_above=2)
    async with Fetcher(cluster, options, admission) as fetcher:
        for tp in parts:
            fetcher.assign(tp, 0)
        (channel,) = await eventually(lambda: [c for c in fetcher._channels() if c._session._epoch > 1 and c._idle])
        epoch = channel._session._epoch
        fetcher.drop(parts[0])
        fetcher.assign(parts[0], 0)
        await eventually(lambda: len(channel) == 4)
        assert channel._session._epoch == epoch, "all of it happened during one request"
        await eventually(lambda: channel._session._epoch > epoch + 1)
        await asyncio.to_thread(produce, topic, 50)
        await collect(fetcher, reached({parts[0]: 50}))
