"""A source topic that is deleted and made again between two looks is copied from its beginning, however many records it has by then
(kafka-replication.md §5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.pair import CONTINUE, STOP, Pair, create_when_gone
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import RecordWriter
from tests.support.replication_unit import caught_up
from tests.support.services import Names
from tests.support.topics import delete_topics

pytestmark = pytest.mark.usefixtures("looks_at_its_intervals_only")

NO_LOOK_S = 120.0


@pytest.fixture
async def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    """Read from the Kafka before which there can be a proxy."""
    return await Pair.made(peer_kafka, kafka, names.topic("orders"))


async def made_again_unseen(pair: Pair, proxy: KafkaProxy, count: int) -> None:
    """The unit hears that its topic is gone, and asks where it is now; when it is answered there is another one."""
    questions = proxy.hold_request(ApiKey.METADATA, count=None)
    await delete_topics(pair.source.servers, [pair.topic])
    await questions.reached()
    await create_when_gone(pair.source.servers, pair.topic)
    await RecordWriter(pair.source.servers, pair.topic, 2).write(count)
    questions.release()


async def test_a_topic_made_again_between_two_fetches_is_never_read_on(pair: Pair, proxied_kafka: KafkaProxy) -> None:
    """Nobody hears that it was gone: the same connection asks for the next records, and there are some at that offset."""
    unit = pair.unit(replace(CONTINUE, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = [await contents(pair.target, number) for number in (0, 1)]
        fetches = proxied_kafka.hold_request(ApiKey.FETCH, count=None)
        await fetches.reached()
        await pair.made_again(300)
        fetches.release()
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        await caught_up(runner)


@pytest.mark.parametrize("count", [30, 300], ids=["shorter", "longer"])
async def test_a_topic_made_again_between_two_looks_is_copied_from_its_beginning(
    pair: Pair, proxied_kafka: KafkaProxy, count: int
) -> None:
    unit = pair.unit(replace(CONTINUE, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = [await contents(pair.target, number) for number in (0, 1)]
        await made_again_unseen(pair, proxied_kafka, count)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        assert unit.ledger.codes == ["topic_recreated"] * 2
        await caught_up(runner)
    for number in (0, 1):
        assert await contents(pair.target, number) == [*first[number], *await contents(pair.source, number)]


async def test_a_topic_made_again_between_two_looks_stops_where_it_shall(pair: Pair, proxied_kafka: KafkaProxy) -> None:
    unit = pair.unit(replace(STOP, refresh_interval_s=NO_LOOK_S), reads=proxied_kafka.bootstrap_servers)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = await contents(pair.target)
        await made_again_unseen(pair, proxied_kafka, 300)
        for number in (0, 1):
            row = await blocked(runner, pair.topic, "gap", number)
            assert row.reason is not None and "made again on the source" in row.reason.message
        assert await contents(pair.target) == first


async def test_a_broker_that_lags_behind_does_not_bring_the_old_topic_back(pair: Pair, proxied_kafka: KafkaProxy) -> None:
    """It still tells the id of the topic before: what was copied of the new one is not copied again."""
    unit = pair.unit(reads=proxied_kafka.bootstrap_servers)
    await pair.writer.write(100)
    async with unit.running() as runner:
        await caught_up(runner)
        first = [await contents(pair.target, number) for number in (0, 1)]
        old = await topic_id(pair)
        await pair.made_again(50)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        new = await topic_id(pair)
        late = proxied_kafka.rewrite_answer(ApiKey.METADATA, lambda request, answer: answer.replace(new, old), count=None)
        await late.hit(3)
        late.remove()
        told = list(unit.ledger.codes)
        await pair.writer.write(10)
        await caught_up(runner)
        for number in (0, 1):
            await eventually_holds(pair.target, [*first[number], *await contents(pair.source, number)], number)
        assert unit.ledger.codes == told and told.count("topic_recreated") == 2


async def topic_id(pair: Pair) -> bytes:
    """Of the source's topic as it is now."""
    async with Cluster(pair.source.servers, KafkaSecurity(), client_id="tests") as source:
        found = (await source.metadata([pair.topic])).topics[pair.topic].topic_id
        assert found is not None
        return found.bytes
