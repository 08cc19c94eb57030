"""What is read again of a lost upload is exactly its range, wherever in a batch that ends."""

from __future__ import annotations

import pytest
from fastcrc import crc32

from smartconnect.jobs.obs_dump.redelivery import RangeReader
from smartconnect.kafka.fetch_types import FetchedPartition
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import BlockPool, BlockWriter, Codec, JoinPlan
from smartconnect.kernels.encode import Frame, Record, batch

VALUES = [b"value %d" % number for number in range(30)]


def fetched(codec: Codec) -> FetchedPartition:
    """The values at their offsets, ten to a batch."""
    batches = [
        batch([Record(offset, VALUES[offset]) for offset in range(first, first + 10)], Frame(codec=codec)) for first in (0, 10, 20)
    ]
    records = memoryview(b"".join(batches))
    return FetchedPartition(TopicPartition("orders", 0), 0, 30, None, 30, 30, 0, [], records)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])
@pytest.mark.parametrize(("start", "end"), [(0, 30), (0, 10), (3, 14), (12, 13), (9, 21), (5, 29)])
def test_exactly_the_range_is_read(start: int, end: int, codec: Codec) -> None:
    writer = BlockWriter(BlockPool())
    reader = RangeReader(JoinPlan(b"\n"), writer, start, end)
    reader.append(fetched(codec))
    assert (reader.records, reader.position) == (end - start, end)
    taken = writer.take()
    content = b"".join(taken.views)
    assert content == b"".join(value + b"\n" for value in VALUES[start:end])
    assert taken.crc32c == crc32.iscsi(content)
