"""From a fetch answer to the outbox: what is damaged, and what is refused while the intake waits for something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from smartconnect.jobs.kafka_replication.intake import Damaged, Intake
from smartconnect.jobs.kafka_replication.partition import Flight, Hold, Lane, Partition
from smartconnect.jobs.kafka_replication.recoding import Recoding
from smartconnect.jobs.kafka_replication.topic_limits import UNKNOWN
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.kafka.fetcher import FetchedPartition
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Batch, Recoded, Stamp
from smartconnect.kernels.encode import Frame, Record, batch
from tests.support.replication_unit import spec_of

SOURCE, TARGET = TopicPartition("orders", 0), TopicPartition("a.orders", 0)


class Outbox:
    def __init__(self) -> None:
        self.flights: list[Flight] = []

    def put(self, lane: Lane, flights: Sequence[Flight]) -> None:
        self.flights.extend(flights)


class Memory:
    def charge(self, nbytes: int) -> None:
        """Not counted here."""

    def credit(self, nbytes: int) -> None:
        """Not counted here."""


class NoLoops:
    async def judge(self, partition: Partition, rows: Sequence[Batch]) -> Callable[[int], bool] | None:
        return None


class EnoughRoom:
    def of(self, topic: str) -> object:
        return UNKNOWN

    async def make(self, topic: str, nbytes: int) -> object:
        return UNKNOWN


class Bench:
    """An intake with nothing real around it, and a partition that reads from offset 0."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.partition = Partition(Link(SOURCE, TARGET, None, None), Lane(TARGET), read=0, acked=0)
        guard = SimpleNamespace(stamp=Stamp(7, 0, transactional=True))
        resources = SimpleNamespace(decoders=None)
        clock = SimpleNamespace(now_ms=lambda: 0)
        inc: Any = SimpleNamespace(
            spec=spec_of("unused:1", ["orders"]),
            counters=Counter(),
            guard=guard,
            memory=Memory(),
            resources=resources,
            clock=clock,
        )
        room: Any = EnoughRoom()
        outbox: Any = self.outbox
        freshness: Any = SimpleNamespace(received=lambda partition, until, timestamp_ms: None)
        self.intake = Intake(inc, outbox, NoLoops(), room, freshness)

    async def take(self, records: bytes | bytearray) -> None:
        view = memoryview(bytearray(records))
        fetched = FetchedPartition(SOURCE, self.partition.read, 0, None, 100, 100, 0, [], view)
        await self.intake.take(self.partition, fetched, Hold(lambda: None))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def records(first: int, count: int = 3) -> list[Record]:
    return [Record(offset, b"value %d" % offset) for offset in range(first, first + count)]


def with_a_hole(first: int) -> bytes:
    """Ten offsets of which compaction left three."""
    return batch(records(first), Frame(last_offset=first + 9))


async def test_batches_take_their_place_in_order(bench: Bench) -> None:
    await bench.take(batch(records(0)) + with_a_hole(3) + batch(records(13)))
    assert [(flight.first, flight.next, flight.sequence, flight.count) for flight in bench.outbox.flights] == [
        (0, 3, 0, 3),
        (3, 13, 3, 3),
        (13, 16, 6, 3),
    ]
    assert bench.partition.read == 16


async def test_what_is_refused_while_a_batch_is_decoded_takes_all_behind_it_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outbox gives up the lane while the intake waits for the decoding thread: what it holds then is not the next any more."""
    decode = Recoding.recode

    async def refused_meanwhile(self: Recoding, partition: Partition, *others: Any) -> Recoded:
        found = await decode(self, partition, *others)
        partition.rewind()
        return found

    monkeypatch.setattr(Recoding, "recode", refused_meanwhile)
    await bench.take(batch(records(0)) + with_a_hole(3) + batch(records(13)))
    assert [flight.first for flight in bench.outbox.flights] == [0]
    assert bench.partition.read == bench.partition.acked == 0
    assert not bench.partition.flights


async def test_damage_is_told_where_it_is_and_what_lies_before_it_goes_on(bench: Bench) -> None:
    broken = bytearray(batch(records(3)))
    broken[-2] ^= 0x40
    with pytest.raises(Damaged, match="checksum of the batch at offset 3 of orders-0"):
        await bench.take(batch(records(0)) + bytes(broken) + batch(records(6)))
    assert [flight.first for flight in bench.outbox.flights] == [0]
    assert bench.partition.read == 3


async def test_a_format_that_cannot_be_is_damage(bench: Bench) -> None:
    broken = bytearray(batch(records(0)))
    broken[16] = 9
    with pytest.raises(Damaged, match="orders-0 from offset 0"):
        await bench.take(broken)
    assert bench.outbox.flights == [] and bench.partition.read == 0
