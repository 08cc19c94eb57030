"""What the tests of the Kafka client share: a `Cluster` on the shared server, a producer of the independent client, a budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import pytest
from confluent_kafka import Producer

from smartconnect.kafka.batch import headers
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.timing import Timing
from smartconnect.kafka.types import TopicPartition
from smartconnect.sandbox.kafka import KafkaCluster

Produce = Callable[..., None]


@pytest.fixture
async def cluster(kafka: KafkaCluster) -> AsyncIterator[Cluster]:
    async with Cluster(kafka.bootstrap_servers, KafkaSecurity(), client_id="tests") as cluster:
        yield cluster


@pytest.fixture
def produce(kafka: KafkaCluster) -> Produce:
    """`produce(topic, count, partition=0, value=None, start=0, **settings)` on the shared Kafka."""

    def send(topic: str, count: int, **options: object) -> None:
        produce_to(kafka.bootstrap_servers, topic, count, **options)  # type: ignore[arg-type]

    return send


def produce_to(
    servers: str,
    topic: str,
    count: int,
    *,
    partition: int = 0,
    start: int = 0,
    pad: int = 0,
    settings: Mapping[str, object] | None = None,
    transaction: bool | None = None,
) -> None:
    """Records `<number>` + padding; in a transaction that commits (True), aborts (False), or in none."""
    options = {"bootstrap.servers": servers, "linger.ms": 5, "log_level": 0, **(settings or {})}
    if transaction is not None:
        options["transactional.id"] = f"tests-{topic}-{partition}"
    producer = Producer(options)
    if transaction is not None:
        producer.init_transactions(30)
        producer.begin_transaction()
    for number in range(start, start + count):
        while True:
            try:
                producer.produce(topic, b"%d" % number + b"." * pad, partition=partition)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(30) == 0
    if transaction is True:
        producer.commit_transaction(30)
    elif transaction is False:
        producer.abort_transaction(30)


class CountingAdmission:
    """A budget without a limit that tells what is out; `block` makes everybody wait."""

    def __init__(self) -> None:
        self.held = self.most = self.acquired = 0
        self.open = asyncio.Event()
        self.open.set()

    async def acquire(self, nbytes: int) -> None:
        await self.open.wait()
        self.acquired += 1
        self.overdraw(nbytes)

    def overdraw(self, nbytes: int) -> None:
        self.held += nbytes
        self.most = max(self.most, self.held)

    def release(self, nbytes: int) -> None:
        self.held -= nbytes
        assert self.held >= 0


@pytest.fixture
def admission() -> CountingAdmission:
    return CountingAdmission()


async def collect(
    fetcher: Fetcher, until: Callable[[list[FetchedPartition]], bool], deadline_s: float = 30.0
) -> list[FetchedPartition]:
    """Everything delivered until the condition holds, copied out of its frames."""
    got: list[FetchedPartition] = []
    async with asyncio.timeout(deadline_s):
        while not until(got):
            frame = await fetcher.next(0.5)
            if frame is not None:
                for part in frame.partitions:
                    part.records = memoryview(bytes(part.records))
                    got.append(part)
                frame.release()
    return got


def reached(ends: Mapping[TopicPartition, int]) -> Callable[[list[FetchedPartition]], bool]:
    """True when what was delivered reaches these offsets."""

    def check(got: list[FetchedPartition]) -> bool:
        seen: dict[TopicPartition, int] = {}
        for part in got:
            seen[part.tp] = max(seen.get(part.tp, 0), part.next_offset)
        return all(seen.get(tp, 0) >= end for tp, end in ends.items())

    return check


def offsets_of(parts: Iterable[FetchedPartition]) -> list[int]:
    """Offsets of all records of uncompressed or compressed magic 2 batches, in the order delivered."""
    return [
        offset
        for part in parts
        for _, header in headers(part.records)
        for offset in range(header.base_offset, header.last_offset + 1)
    ]


def fast_timing(**changes: float) -> Timing:
    """Patience of a live check."""
    return Timing(**{"connect_s": 3.0, "request_s": 5.0, "patience_s": 3.0, **changes})
