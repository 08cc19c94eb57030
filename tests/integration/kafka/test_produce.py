"""Raw batches sent to a real broker as they were fetched: order, transactions, refusals."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from fastcrc import crc32

from smartconnect.domain.errors import Fenced
from smartconnect.kafka.admin import NewTopic, create_topics, delete_topics
from smartconnect.kafka.batch import headers, parse_header
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import PartitionsNotAdded
from smartconnect.kafka.fetcher import Fetcher, FetchOptions
from smartconnect.kafka.offsets import LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.produce_channel import Outcome, OutgoingBatch, ProduceChannel, ProduceOptions
from smartconnect.kafka.produce_codec import Buffer
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import encode
from smartconnect.kernels.batch import TRANSACTIONAL
from smartconnect.sandbox.kafka import KafkaOptions, kafka_cluster
from tests.conftest import MakeTopic
from tests.integration.kafka.conftest import CountingAdmission, Produce, collect, produce_to, reached
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually

QUICK = FetchOptions(max_wait_ms=100, idle_wait_ms=100)


@dataclass(slots=True, eq=False)
class Tagged(OutgoingBatch):
    """A batch by a name of the test."""

    tag: object


def tag_of(batch: OutgoingBatch) -> object:
    assert isinstance(batch, Tagged)
    return batch.tag


class Channel:
    """A running channel to node 1 and the outcomes it reported."""

    def __init__(self, cluster: Cluster, options: ProduceOptions | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.channel = ProduceChannel(cluster, 1, options or ProduceOptions(), self.outcomes.extend)
        self.task = asyncio.create_task(self.channel.run())

    async def all_stored(self, count: int, deadline_s: float = 60.0) -> None:
        """Until so many batches are stored. A leader of a topic just made may not know of it for some ms: again."""
        late = (None, KafkaCode.NOT_LEADER_OR_FOLLOWER, KafkaCode.UNKNOWN_TOPIC_OR_PARTITION)

        def done() -> bool:
            for outcome in self.outcomes:
                refused = outcome.refused.error if outcome.refused else None
                assert outcome.lost is None and refused in late, outcome
            for tp in {outcome.tp for outcome in self.outcomes if not outcome.stored}:
                if self.channel.stands_still(tp):
                    self.channel.resume(tp)
            return sum(outcome.stored for outcome in self.outcomes) == count

        await eventually(done, deadline_s, poll_s=0.05)

    def put(self, tp: TopicPartition, records: Buffer, tag: object = None) -> None:
        self.channel.put(tp, [Tagged(records, tag)])

    def tags(self, tp: TopicPartition | None = None) -> list[object]:
        """Of what is stored, in the order of the reports."""
        stored = [outcome for outcome in self.outcomes if outcome.stored and tp in (None, outcome.tp)]
        return [tag_of(outcome.batch) for outcome in stored]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def open_channel(cluster: Cluster) -> AsyncIterator[Callable[..., Channel]]:
    opened: list[Channel] = []

    def start(options: ProduceOptions | None = None) -> Channel:
        opened.append(Channel(cluster, options))
        return opened[-1]

    yield start
    for channel in opened:
        await channel.close()


async def fetch_batches(cluster: Cluster, tp: TopicPartition, end: int) -> list[bytearray]:
    """Single batches as the broker stores them, base offset 0."""
    async with Fetcher(cluster, QUICK, CountingAdmission()) as fetcher:
        fetcher.assign(tp, 0)
        got = await collect(fetcher, reached({tp: end}))
    batches = []
    for part in got:
        for at, header in headers(part.records):
            batch = bytearray(part.records[at : at + header.size])
            batch[:8] = bytes(8)
            batches.append(batch)
    return batches


async def served(cluster: Cluster, *parts: TopicPartition) -> None:
    """Until the leaders of partitions just made really answer for them; metadata shows them some ms earlier."""
    found = await list_offsets(cluster, dict.fromkeys(parts, LATEST), READ_COMMITTED)
    assert not any(offset.error for offset in found.values())


def signed(batch: bytearray, producer_id: int, epoch: int, sequence: int, *, transactional: bool) -> bytearray:
    """The batch as one of a producer's, with the checksum that belongs to it."""
    out = bytearray(batch)
    (attributes,) = struct.unpack_from(">h", out, 21)
    struct.pack_into(">h", out, 21, attributes | 0x10 if transactional else attributes & ~0x10)
    struct.pack_into(">qhi", out, 43, producer_id, epoch, sequence)
    struct.pack_into(">I", out, 17, crc32.iscsi(bytes(out[21:])))
    return out


@pytest.mark.parametrize("transactional", [False, True])
async def test_no_batch_overtakes_the_first_one_of_a_topic_just_made(
    cluster: Cluster, names: Names, open_channel: Callable[..., Channel], transactional: bool
) -> None:
    """A leader that is none yet refuses the first batch, and some ms later takes the second one, whatever its sequence number."""
    owner = TransactionalId(cluster, names.base)
    await owner.initialise()
    opened = open_channel(ProduceOptions(transactional_id=names.base if transactional else None))
    refused = 0
    for round_number in range(15):
        topic = names.topic(str(round_number))
        await create_topics(cluster, [NewTopic(topic, 8)])
        parts = [TopicPartition(topic, number) for number in range(8)]
        if transactional:
            await eventually(lambda parts=parts: added(owner, parts), poll_s=0.001)
        for number in range(5):
            for tp in parts:
                frame = encode.Frame(
                    producer_id=owner.producer_id,
                    producer_epoch=owner.epoch,
                    base_sequence=number * 10,
                    attributes=TRANSACTIONAL if transactional else 0,
                )
                records = [encode.Record(n, b"x") for n in range(10)]
                opened.put(tp, encode.batch(records, frame), number)
        await opened.all_stored(40)
        refused += sum(not outcome.stored for outcome in opened.outcomes)
        for tp in parts:
            assert opened.tags(tp) == list(range(5))
        if transactional:
            await owner.end(commit=True)
        await delete_topics(cluster, [topic])
        opened.outcomes.clear()
    assert refused, "no leader ever was too late: the test has shown nothing"


async def added(owner: TransactionalId, parts: list[TopicPartition]) -> bool:
    """The broker may not know topics just made."""
    try:
        await owner.add_partitions(parts)
    except PartitionsNotAdded:
        return False
    return True


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_fetched_batches_are_accepted_as_they_are_and_in_order(
    cluster: Cluster, make_topic: MakeTopic, produce: Produce, open_channel: Callable[..., Channel], codec: str
) -> None:
    source, target = TopicPartition(await make_topic("s"), 0), TopicPartition(await make_topic("t"), 0)
    settings = {"compression.type": codec, "batch.size": 20_000}
    await asyncio.to_thread(produce, source.topic, 5000, pad=100, settings=settings)
    batches = await fetch_batches(cluster, source, 5000)
    opened = open_channel()
    for number, batch in enumerate(batches):
        opened.put(target, memoryview(batch), number)
    await opened.all_stored(len(batches))
    stored = [outcome for outcome in opened.outcomes if outcome.stored]
    assert opened.tags() == list(range(len(batches)))
    bases = [outcome.base_offset or 0 for outcome in stored]
    assert bases == sorted(bases) and bases[0] == 0
    assert [bytes(b[16:]) for b in await fetch_batches(cluster, target, 5000)] == [bytes(b[16:]) for b in batches]


async def test_many_partitions_share_requests_and_large_requests_pass(
    cluster: Cluster, make_topic: MakeTopic, produce: Produce, open_channel: Callable[..., Channel]
) -> None:
    source, target = TopicPartition(await make_topic("s"), 0), await make_topic("t", partitions=30)
    await asyncio.to_thread(produce, source.topic, 4000, pad=1000, settings={"batch.size": 900_000, "linger.ms": 200})
    batches = await fetch_batches(cluster, source, 4000)
    assert max(map(len, batches)) > 500_000
    opened = open_channel()
    for number in range(30):
        for batch in batches:
            opened.put(TopicPartition(target, number), memoryview(batch))
    await opened.all_stored(30 * len(batches))
    parts = [TopicPartition(target, number) for number in range(30)]
    found = await list_offsets(cluster, dict.fromkeys(parts, LATEST), READ_COMMITTED)
    assert {offset.offset for offset in found.values()} == {4000}


async def test_transaction_of_raw_batches_is_seen_whole_or_not_at_all(
    cluster: Cluster, names: Names, make_topic: MakeTopic, produce: Produce, open_channel: Callable[..., Channel]
) -> None:
    source, target = TopicPartition(await make_topic("s"), 0), TopicPartition(await make_topic("t"), 0)
    await asyncio.to_thread(produce, source.topic, 2000, pad=100, settings={"batch.size": 10_000})
    batches = await fetch_batches(cluster, source, 2000)
    await served(cluster, target)
    owner = TransactionalId(cluster, names.base)
    await owner.initialise()
    opened = open_channel(ProduceOptions(transactional_id=owner.name))
    sequence = 0
    for commit in (False, True):
        await owner.add_partitions([target])
        for batch in batches:
            header = parse_header(batch)
            raw = signed(batch, owner.producer_id, owner.epoch, sequence, transactional=True)
            opened.put(target, raw)
            sequence += header.last_offset_delta + 1
        await eventually(lambda: opened.channel.unanswered(target) == 0)
        assert all(outcome.stored for outcome in opened.outcomes)
        await owner.end(commit=commit)
    async with Fetcher(cluster, QUICK, CountingAdmission()) as fetcher:
        fetcher.assign(target, 0)
        got = await collect(fetcher, reached({target: 4002}))
    assert {entry for part in got for entry in part.aborted} == {(owner.producer_id, 0)}


async def test_zombie_producer_is_refused(
    cluster: Cluster, names: Names, make_topic: MakeTopic, produce: Produce, open_channel: Callable[..., Channel]
) -> None:
    source, target = TopicPartition(await make_topic("s"), 0), TopicPartition(await make_topic("t"), 0)
    await asyncio.to_thread(produce, source.topic, 10)
    (batch,) = (await fetch_batches(cluster, source, 10))[:1]
    await served(cluster, target)
    zombie = TransactionalId(cluster, names.base)
    await zombie.initialise()
    await zombie.add_partitions([target])
    await TransactionalId(cluster, names.base).initialise()
    opened = open_channel(ProduceOptions(transactional_id=zombie.name))
    opened.put(target, signed(batch, zombie.producer_id, zombie.epoch, 0, transactional=True))
    await eventually(lambda: opened.outcomes)
    refused = opened.outcomes[0].refused
    assert refused is not None and refused.error in (
        KafkaCode.INVALID_PRODUCER_EPOCH,
        KafkaCode.INVALID_TXN_STATE,
        KafkaCode.PRODUCER_FENCED,
    )
    with pytest.raises(Fenced):
        await zombie.end(commit=True)


async def test_refused_batch_stops_its_partition_alone_and_the_owner_decides(
    cluster: Cluster, make_topic: MakeTopic, produce: Produce, open_channel: Callable[..., Channel]
) -> None:
    source, target = TopicPartition(await make_topic("s"), 0), await make_topic("t", partitions=2)
    await asyncio.to_thread(produce, source.topic, 10)
    good = (await fetch_batches(cluster, source, 10))[0]
    broken = bytearray(good)
    broken[-1] ^= 0xFF
    bad, fine = TopicPartition(target, 0), TopicPartition(target, 1)
    await served(cluster, bad, fine)
    opened = open_channel(ProduceOptions(most_in_flight=1))
    opened.put(bad, broken, "broken")
    opened.put(bad, good, "behind")
    opened.put(fine, good, "other")
    await eventually(lambda: len(opened.outcomes) == 2 and opened.channel.stands_still(bad))
    outcomes = {tag_of(outcome.batch): outcome for outcome in opened.outcomes}
    assert outcomes["other"].stored
    refused = outcomes["broken"].refused
    assert refused is not None and refused.error is KafkaCode.CORRUPT_MESSAGE
    assert [tag_of(batch) for batch in opened.channel.take_back(bad)] == ["broken", "behind"]
    opened.put(bad, good, "repaired")
    await eventually(lambda: len(opened.outcomes) == 3)
    assert opened.outcomes[-1].stored


async def test_lost_batches_go_out_again_in_order_when_the_owner_says_so(names: Names) -> None:
    async with (
        kafka_cluster(KafkaOptions()) as server,
        Cluster(server.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster,
    ):
        source, target = TopicPartition(names.topic("s"), 0), TopicPartition(names.topic("t"), 0)
        for topic in (source.topic, target.topic):
            await create_topic(server.bootstrap_servers, topic)
        await asyncio.to_thread(produce_to, server.bootstrap_servers, source.topic, 300, settings={"batch.size": 1000})
        batches = await fetch_batches(cluster, source, 300)
        opened = Channel(cluster)
        await server.nodes[0].kill()
        for number, batch in enumerate(batches):
            opened.put(target, batch, number)
        await eventually(lambda: opened.channel.stands_still(target))
        assert opened.outcomes[0].lost is not None and tag_of(opened.outcomes[0].batch) == 0
        await server.nodes[0].start()
        opened.outcomes.clear()

        async def delivered() -> bool:
            if opened.channel.stands_still(target):
                opened.channel.resume(target)
            return sum(outcome.stored for outcome in opened.outcomes) == len(batches)

        await eventually(delivered, 30, poll_s=0.2)
        assert opened.tags() == list(range(len(batches)))
        await opened.close()
