"""What the target refuses concerns one partition, never its neighbours (kafka-replication.md §3, §6.4, §11): batches too large, records
that it does not take, rights and replicas that are missing. Nothing is lost silently, nothing repeated, nothing reordered."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from smartconnect.domain.kafka_replication_spec import (
    Delivery,
    Direction,
    OnRejectedRecord,
    Peer,
    ReplicationOptions,
    ReplicationSpec,
)
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication import rests
from smartconnect.kafka.admin import Resource, ResourceKind, describe_configs, incremental_alter_configs
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.sandbox.kafka import KafkaCluster, kafka_cluster
from tests.integration.kafka_replication.stories import blocked, contents, eventually_holds, row_of
from tests.support.acls import Rights, guarding
from tests.support.kafka_api import ApiKey
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import Side, eventually_mirrored
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

FAST = ReplicationOptions(refresh_interval_s=0.5)
DAY_MS = 86_400_000
PASSWORD = "correct-horse"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests is tried again after a second instead of thirty."""
    monkeypatch.setattr(rests, "_FIRST_REST_S", 1.0)


class Pair:
    """A topic with two partitions on the peer and one of the same name here, made by somebody else with `config`."""

    def __init__(self, kafka: KafkaCluster, peer: KafkaCluster, topic: str) -> None:
        self.topic = topic
        self.source, self.target = Side(peer.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)

    async def made(self, config: Mapping[str, str], source_config: Mapping[str, str] | None = None) -> None:
        await create_topic(self.source.servers, self.topic, partitions=2, config=source_config)
        await create_topic(self.target.servers, self.topic, partitions=2, config=config)

    def writer(self, **options: object) -> RecordWriter:
        return RecordWriter(self.source.servers, self.topic, 2, WriterOptions(**options))  # type: ignore[arg-type]

    def unit(self, **options: object) -> UnitUnderTest:
        changed = replace(FAST, **options)  # type: ignore[arg-type]
        return UnitUnderTest(self.target.servers, spec_of(self.source.servers, [self.topic], changed))


@pytest.fixture
def pair(kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names) -> Pair:
    return Pair(kafka, peer_kafka, names.topic("orders"))


async def set_config(servers: str, topic: str, name: str, value: str) -> None:
    async with Cluster(servers, KafkaSecurity(), client_id="tests") as cluster:
        changes = {Resource(ResourceKind.TOPIC, topic): {name: value}}
        assert set((await incremental_alter_configs(cluster, changes)).values()) == {None}


async def config_of(servers: str, topic: str, name: str) -> str | None:
    async with Cluster(servers, KafkaSecurity(), client_id="tests") as cluster:
        resource = Resource(ResourceKind.TOPIC, topic)
        found = (await describe_configs(cluster, [resource]))[resource]
        assert isinstance(found, dict)
        return found[name].value


# -- too large


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_batches_too_large_for_a_topic_of_somebody_else_are_split(pair: Pair, delivery: Delivery) -> None:
    await pair.made({"max.message.bytes": "20000"})
    writer = pair.writer(value_size=1000)
    await writer.write(500)
    unit = pair.unit(delivery=delivery)
    async with unit.running() as runner:
        await eventually_mirrored(pair.source, pair.target)
        assert runner.progress().counters["batches_rewritten"] > 0
        assert row_of(runner, pair.topic).reason is None


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_limit_that_shrinks_while_records_flow_makes_nothing_lost_twice_or_out_of_order(
    pair: Pair, delivery: Delivery
) -> None:
    """The unit knows the old limit, so the target refuses, with more batches on their way behind the refused one."""
    await pair.made({})
    writer = pair.writer(value_size=1000)
    await writer.write(10)
    async with pair.unit(delivery=delivery).running() as runner:
        await caught_up(runner)
        await set_config(pair.target.servers, pair.topic, "max.message.bytes", "20000")
        await writer.write(500)
        await writer.write(500)
        await eventually_mirrored(pair.source, pair.target)
        assert row_of(runner, pair.topic).reason is None


async def test_one_record_too_large_blocks_its_partition_alone_until_there_is_room(pair: Pair) -> None:
    await pair.made({"max.message.bytes": "20000"})
    writer = pair.writer()
    await writer.write(10)
    await writer.write_raw(0, os.urandom(30_000))
    await writer.write(10)
    async with pair.unit().running() as runner:
        row = await blocked(runner, pair.topic, "record_too_large")
        assert row.reason is not None
        assert "offset 10" in row.reason.message and "20000" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        await set_config(pair.target.servers, pair.topic, "max.message.bytes", "100000")
        await eventually_mirrored(pair.source, pair.target)
        assert row_of(runner, pair.topic).reason is None


async def test_a_topic_that_we_made_gets_room_for_larger_batches(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    source, target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
    await create_topic(source.servers, topic)
    writer = RecordWriter(source.servers, topic, 1, WriterOptions(client={"message.max.bytes": 4_000_000}))
    await writer.write(10)
    async with UnitUnderTest(target.servers, spec_of(source.servers, [topic], FAST)).running() as runner:
        await caught_up(runner)
        await set_config(source.servers, topic, "max.message.bytes", "4000000")
        await writer.write_raw(0, os.urandom(2_000_000))
        await writer.write(10)
        await eventually_mirrored(source, target)
        assert int(await config_of(target.servers, topic, "max.message.bytes") or 0) > 2_000_000
        assert row_of(runner, topic).reason is None
        assert not runner.progress().counters.get("batches_rewritten")


async def test_a_leader_that_hears_of_the_new_limit_later_gets_the_same_batch_again(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names, proxied_kafka: KafkaProxy
) -> None:
    """The controller says yes to a new limit before the partition's leader knows it: no reason to write the batch anew."""
    topic = names.topic("orders")
    source, target = Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic)
    await create_topic(source.servers, topic)
    writer = RecordWriter(source.servers, topic, 1, WriterOptions(client={"message.max.bytes": 4_000_000}))
    await writer.write(10)

    async def undo(_: object) -> None:
        await set_config(target.servers, topic, "max.message.bytes", "1048588")

    async with UnitUnderTest(proxied_kafka.bootstrap_servers, spec_of(source.servers, [topic], FAST)).running() as runner:
        await caught_up(runner)
        await set_config(source.servers, topic, "max.message.bytes", "4000000")
        raised = proxied_kafka.on_answer(ApiKey.INCREMENTAL_ALTER_CONFIGS, undo)
        await writer.write_raw(0, os.urandom(2_000_000))
        await raised.hit()
        before = proxied_kafka.requests[ApiKey.PRODUCE]
        await eventually(lambda: proxied_kafka.requests[ApiKey.PRODUCE] >= before + 2, what="it is refused and comes again")
        await set_config(target.servers, topic, "max.message.bytes", "4000000")
        await eventually_mirrored(source, target)
        assert not runner.progress().counters.get("batches_rewritten")


# -- records that the target does not take


async def _with_one_from_tomorrow(pair: Pair) -> None:
    """Partition 0 has 200 good records around one with a time that the target refuses; partition 1 has 200 good ones."""
    await pair.made({"message.timestamp.after.max.ms": "3600000"}, {"message.timestamp.after.max.ms": str(30 * DAY_MS)})
    writer = pair.writer()
    await writer.write(100)
    await writer.write_raw(0, b"from tomorrow", timestamp_ms=int(time.time() * 1000) + DAY_MS)
    for _ in range(10):
        await writer.write(10)


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_refused_record_stops_its_partition_and_no_other(pair: Pair, delivery: Delivery) -> None:
    await _with_one_from_tomorrow(pair)
    unit = pair.unit(delivery=delivery)
    async with unit.running() as runner:
        row = await blocked(runner, pair.topic, "record_rejected")
        assert row.reason is not None and "offset 100" in row.reason.message and "INVALID_TIMESTAMP" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        whole = await contents(pair.source)
        await eventually_holds(pair.target, whole[:100])
        await set_config(pair.target.servers, pair.topic, "message.timestamp.after.max.ms", str(30 * DAY_MS))
        await eventually_mirrored(pair.source, pair.target)
    assert unit.ledger.codes == ["record_rejected"], "each try is told"


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_the_very_first_batch_is_refused_with_good_ones_behind_it(
    pair: Pair, delivery: Delivery, proxied_kafka: KafkaProxy
) -> None:
    """A broker that does not know a producer yet takes any sequence: what follows a refused first batch must not get in before it.
    Answers are late, so that more would be on its way; the connection is in use already."""

    async def late(exchange: object) -> None:
        await asyncio.sleep(0.1)

    proxied_kafka.on_answer(ApiKey.PRODUCE, late, count=None)
    pair.target = Side(proxied_kafka.bootstrap_servers, pair.topic)
    await pair.made({"message.timestamp.after.max.ms": "3600000"}, {"message.timestamp.after.max.ms": str(30 * DAY_MS)})
    await pair.writer().write(10, [1])
    unit = pair.unit(on_rejected_record=OnRejectedRecord.SKIP, delivery=delivery, produce_connections=1)
    async with unit.running() as runner:
        await eventually(lambda: row_of(runner, pair.topic, 1).lag_records == 0, what="the connection is in use")
        await asyncio.to_thread(_visible_at_once, pair.source.servers, pair.topic)
        await eventually_holds(pair.target, (await contents(pair.source))[1:])
        assert runner.progress().counters["records_rejected"] == 1


def _visible_at_once(servers: str, topic: str) -> None:
    """A record from tomorrow and nine batches behind it, in one transaction."""
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"from tomorrow", partition=0, timestamp=int(time.time() * 1000) + DAY_MS)
    assert producer.flush(30) == 0
    for number in range(9):
        for _ in range(10):
            producer.produce(topic, b"%d" % number + b"." * 1000, partition=0)
        assert producer.flush(30) == 0
    producer.commit_transaction(30)


@pytest.mark.parametrize("delivery", list(Delivery), ids=str)
async def test_a_refused_record_is_left_out_where_it_shall(pair: Pair, delivery: Delivery) -> None:
    await _with_one_from_tomorrow(pair)
    unit = pair.unit(on_rejected_record=OnRejectedRecord.SKIP, delivery=delivery)
    async with unit.running() as runner:
        whole = await contents(pair.source)
        await eventually_holds(pair.target, [record for record in whole if record.value != b"from tomorrow"])
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert runner.progress().counters["records_rejected"] == 1
        assert unit.ledger.codes == ["record_rejected"] and "from offset 100" in unit.ledger.events[0][2]
        before = runner.progress().counters["batches_rewritten"]
        await pair.writer(tag="more").write(10)
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        await eventually(lambda: runner.progress().lag_records == 0, what="what is left out counts as done")
        assert runner.progress().counters["batches_rewritten"] == before, "what follows the record is decoded for ever"


async def test_a_refused_time_is_clamped_where_it_shall(pair: Pair) -> None:
    await _with_one_from_tomorrow(pair)
    unit = pair.unit(on_rejected_record=OnRejectedRecord.CLAMP)
    async with unit.running():
        whole = await contents(pair.source)
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        await eventually_has(pair.target, len(whole))
        copied = await contents(pair.target)
        (at,) = [number for number, record in enumerate(whole) if record.value == b"from tomorrow"]
        assert copied[at].timestamp_ms < time.time() * 1000 + 3_600_000
        assert [r._replace(timestamp_ms=0) for r in copied] == [r._replace(timestamp_ms=0) for r in whole]
        assert copied[:at] + copied[at + 1 :] == whole[:at] + whole[at + 1 :]
    assert unit.ledger.codes == ["timestamps_clamped"]


async def test_a_time_long_ago_is_clamped_too(pair: Pair) -> None:
    await pair.made({"message.timestamp.before.max.ms": str(DAY_MS)})
    writer = pair.writer()
    await writer.write(10)
    await writer.write_raw(0, b"long ago", timestamp_ms=1_000_000)
    await writer.write(10)
    unit = pair.unit(on_rejected_record=OnRejectedRecord.CLAMP)
    async with unit.running():
        whole = await contents(pair.source)
        await eventually_has(pair.target, len(whole))
        copied = await contents(pair.target)
        assert copied[10].timestamp_ms > time.time() * 1000 - DAY_MS
        assert copied[:10] + copied[11:] == whole[:10] + whole[11:]
    assert unit.ledger.codes == ["timestamps_clamped"]


async def eventually_has(side: Side, count: int, partition: int = 0) -> None:
    async def has() -> bool:
        found = len(await contents(side, partition))
        assert found == count, f"{found} records"
        return True

    await eventually(has, 60, what=f"{side.topic}-{partition} has {count} records", poll_s=0.2)


async def test_records_without_a_key_stop_their_partition_of_a_compacted_topic(pair: Pair) -> None:
    await pair.made({"cleanup.policy": "compact"})
    keyed, bare = pair.writer(with_keys=True), pair.writer()
    await keyed.write(50)
    await bare.write(1, [0])
    await keyed.write(50)
    async with pair.unit().running() as runner:
        row = await blocked(runner, pair.topic, "record_rejected")
        assert row.reason is not None and "INVALID_RECORD" in row.reason.message
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        await eventually_holds(pair.target, (await contents(pair.source))[:50])


async def test_records_without_a_key_are_left_out_of_a_compacted_topic_where_they_shall(pair: Pair) -> None:
    await pair.made({"cleanup.policy": "compact"})
    keyed, bare = pair.writer(with_keys=True), pair.writer(tag="bare")
    await keyed.write(50)
    await bare.write(3, [0])
    await keyed.write(50)
    unit = pair.unit(on_rejected_record=OnRejectedRecord.SKIP)
    async with unit.running() as runner:
        whole = await contents(pair.source)
        await eventually_holds(pair.target, [record for record in whole if record.key is not None])
        await eventually_holds(pair.target, await contents(pair.source, 1), 1)
        assert runner.progress().counters["records_rejected"] == 3


# -- rights


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A Kafka with ACLs on which Joe may nothing yet."""
    with shared(kafka_cluster(guarding("joe", PASSWORD))) as cluster:
        yield cluster


def push_to(server: KafkaCluster, topics: Sequence[str]) -> ReplicationSpec:
    """From here to Joe's cluster."""
    peer = Peer(None, server.bootstrap_servers, "SASL_PLAINTEXT", "PLAIN", "joe", Secret(PASSWORD))
    return replace(spec_of("unused:1", topics, FAST), peer=peer, directions=(Direction.PUSH,))


async def test_a_topic_that_may_not_be_written_stops_alone_until_it_may(
    guarded: KafkaCluster, kafka: KafkaCluster, names: Names
) -> None:
    good, bad = names.topic("good"), names.topic("bad")
    for topic in (good, bad):
        await create_topic(kafka.bootstrap_servers, topic)
        await create_topic(guarded.internal_servers, topic)
        await RecordWriter(kafka.bootstrap_servers, topic).write(100)
    joe = Rights(guarded, "joe")
    await joe.grant(ResourceType.TOPIC, "__smartconnect", prefixed=True)
    await joe.grant(ResourceType.TRANSACTIONAL_ID, "smartconnect.", prefixed=True)
    await joe.grant(ResourceType.TOPIC, good)
    without_write = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS, AclOperation.ALTER_CONFIGS, AclOperation.ALTER)
    await joe.grant(ResourceType.TOPIC, bad, without_write)
    unit = UnitUnderTest(kafka.bootstrap_servers, push_to(guarded, [good, bad]), direction=Direction.PUSH)
    async with unit.running() as runner:
        await eventually_mirrored(Side(kafka.bootstrap_servers, good), Side(guarded.internal_servers, good))
        reason = runner.progress().reason
        assert reason is not None and bad in reason.message and "WRITE" in reason.message
        told = [(code, message) for _, code, message in unit.ledger.events if bad in message]
        assert [code for code, _ in told] == ["permission_missing"], told
        assert await contents(Side(guarded.internal_servers, bad)) == []
        await joe.grant(ResourceType.TOPIC, bad, (AclOperation.WRITE,))
        await eventually_mirrored(Side(kafka.bootstrap_servers, bad), Side(guarded.internal_servers, bad))
        await eventually(lambda: runner.progress().reason is None, what="nothing is missing any more")
        assert len(runner.progress().partitions) == 2
