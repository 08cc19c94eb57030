"""What tests of the dump's pure parts begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smartconnect.domain.clock import Clock
from smartconnect.jobs.obs_dump.assembler import Assembler, Intake
from smartconnect.jobs.obs_dump.buffer import PagedPool
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.kafka.fetch_types import FetchedPartition
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels.encode import Frame, Record, batch
from tests.support.dump_spec import a_spec

ORDERS_3 = TopicPartition("orders", 3)


class HandClock:
    """A clock that moves when told."""

    def __init__(self, wall: float = 1_767_322_000.0) -> None:
        self.now, self.wall_offset = 1000.0, wall - 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now + self.wall_offset)


def a_partition(read: int = 0) -> Partition:
    return Partition(ORDERS_3, read=read, next_start=read, position=read, position_start=read)


def values(first: int, count: int, size: int = 4) -> list[Record]:
    return [Record(offset, str(offset).zfill(size).encode()) for offset in range(first, first + count)]


def fetched(records: Sequence[bytes], at: int = 0) -> FetchedPartition:
    blob = b"".join(records)
    return FetchedPartition(ORDERS_3, at, at, None, 1000, 1000, 0, [], memoryview(blob))


def one_batch(records: Sequence[Record], **frame: int) -> bytes:
    return batch(records, Frame(**frame))


class Bench:
    """An assembler with its pool and one partition."""

    def __init__(self, full: Callable[[], bool] = lambda: False, **spec: object) -> None:
        self.pool = PagedPool()
        self.time = HandClock()
        self.spec = a_spec(**spec)
        self.assembler = Assembler(self.spec, self.pool, self.time.clock(), full=full, interval_of=lambda _: 300.0)
        self.partition = a_partition()

    def intake(self, *batches: bytes) -> Intake:
        return Intake(self.partition, fetched(batches, self.partition.read))

    def content(self) -> bytes:
        assert self.partition.open is not None
        return b"".join(self.partition.open.buffer.take().views)
