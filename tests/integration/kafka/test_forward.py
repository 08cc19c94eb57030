"""Recoded and stamped batches, taken by a real broker, which unfolds and checks each record, and read by the independent client."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from smartconnect import kernels
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec, Hop, Place, RecodePlan, Scratch, Stamp, encode
from smartconnect.kernels.encode import Frame, Record
from smartconnect.kernels.forward import Part
from smartconnect.kernels.twin_forward import parsed
from smartconnect.sandbox.kafka import KafkaCluster
from tests.conftest import MakeTopic
from tests.integration.kafka.test_produce import Channel, fetch_batches
from tests.support.records import read_topic
from tests.support.services import Names

NOW_MS = 1_700_000_000_000
HOP = Hop(Place("cluster-a", "source"), 0, NOW_MS, loop=Place("cluster-b", "target"))


@pytest.fixture
async def channel(cluster: Cluster) -> AsyncIterator[Channel]:
    opened = Channel(cluster)
    yield opened
    await opened.close()


def compacted(codec: Codec) -> bytes:
    """Batches with holes, nulls, headers, and values that compress and that do not, several lz4 blocks long."""
    noise = random.Random(codec)
    made = b""
    for first in range(100, 400, 100):
        records = [
            Record(
                first + i,
                None if i % 7 == 0 else noise.randbytes(3000) if i % 2 else b"words that repeat, " * 200,
                b"key %d" % i,
                NOW_MS + noise.randrange(-5000, 5000),
                ((b"name", b"value"), (b"null", None)) if i % 3 else (),
            )
            for i in range(0, 90, 1 + first // 100)
        ]
        made += encode.batch(records, Frame(codec=codec, base_offset=first, last_offset=first + 99, leader_epoch=3))
    return made


@pytest.mark.parametrize("hop", [None, HOP], ids=["records untouched", "with provenance"])
@pytest.mark.parametrize("codec", Codec)
async def test_recoded_batches_are_taken_and_read_back(
    kafka: KafkaCluster, cluster: Cluster, channel: Channel, make_topic: MakeTopic, names: Names, codec: Codec, hop: Hop | None
) -> None:
    tp = TopicPartition(await make_topic(config={"cleanup.policy": "compact"}), 0)
    owner = TransactionalId(cluster, names.base)
    await owner.initialise()
    blob = compacted(Codec.ZSTD)
    rows = kernels.walk(blob, 0, [])
    result = kernels.recode(blob, rows, RecodePlan(max_bytes=30_000, codec=codec, hop=hop), Scratch())
    assert len(result.batches) >= 2 and not result.oversized

    sequence = 0
    for number, batch in enumerate(result.batches):
        stamp = Stamp(owner.producer_id, owner.epoch, transactional=False)
        kernels.stamp(batch.data, [(0, len(batch.data), sequence)], stamp)
        channel.put(tp, batch.data, number)
        sequence += batch.count
    await channel.all_stored(len(result.batches))

    read = (await read_topic(kafka.bootstrap_servers, tp.topic))[0]
    sent = [record for row in rows for record in _records(blob, row)]
    assert [(r.key, r.value, r.timestamp_ms) for r in read] == [(r.key, r.value, r.timestamp) for r in sent]
    for found, record in zip(read, sent, strict=True):
        own = [(name.encode(), value) for name, value in found.headers if name != "__sc_provenance"]
        assert tuple(own) == record.headers and len(found.headers) - len(own) == (hop is not None)
    stored = await fetch_batches(cluster, tp, sequence)
    assert [bytes(batch[61:]) for batch in stored] == [bytes(batch.data[61:]) for batch in result.batches]


def _records(blob: bytes, row: kernels.Batch) -> list[Record]:
    """The source's records, through the twin's reader."""
    section = kernels.decompress(row.codec, memoryview(blob)[row.records_start : row.end])
    base_time = int.from_bytes(blob[row.start + 27 : row.start + 35], "big", signed=True)
    part = Part(section, row.count, row.base_offset, row.last_offset, base_time, None)
    return [Record(r.offset, r.value, r.key, r.timestamp, r.headers) for r in parsed(part, 0)]
