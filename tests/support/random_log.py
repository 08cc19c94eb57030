"""Random logs as real producers leave them: all codecs, transactions that commit, abort or stay open, tombstones, nulls, headers, records
of no byte to a mebibyte; and batches made by hand, which a broker takes as they are. Everything follows from the given random numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from confluent_kafka import KafkaError, Producer

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.produce_codec import decode_produce, encode_produce
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import Codec
from smartconnect.kernels.encode import Frame, Record, batch

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
_TIMEOUT_S = 60.0
_NAMES = ("trace", "t", "", "ключ", "x" * 300)


@dataclass(frozen=True, slots=True)
class Shape:
    """`keys`: how many different ones (0: none and null too); `largest` value in bytes; `step_ms`: so much later is each batch."""

    keys: int = 0
    largest: int = 2000
    most_records: int = 60
    step_ms: int = 10


class RandomLog:
    """Writes to the partitions of one topic. `started_ms` is the time of the first record."""

    def __init__(self, servers: str, topic: str, random: random.Random, shape: Shape, started_ms: int) -> None:
        self.servers, self.topic, self._random, self._shape = servers, topic, random, shape
        self._now_ms = started_ms
        self._ids = 0

    def write(self, partition: int, batches: int) -> None:
        """Batches of random codecs; about a third of them in transactions, every other of which aborts."""
        while batches > 0:
            count = min(batches, self._random.randint(1, 5))
            kind = self._random.choice(("plain", "plain", "commit", "abort"))
            producer = self._producer(transactional=kind != "plain")
            for _ in range(count):
                self._one_batch(producer, partition)
            if kind == "commit":
                producer.commit_transaction(_TIMEOUT_S)
            elif kind == "abort":
                producer.abort_transaction(_TIMEOUT_S)
            batches -= count

    def write_open(self, partition: int, batches: int) -> Producer:
        """The same in one transaction that stays open: commit it, or abort it."""
        producer = self._producer(transactional=True)
        for _ in range(batches):
            self._one_batch(producer, partition)
        return producer

    def write_small(self, partition: int, count: int, nbytes: int) -> None:
        """Batches of one record each."""
        producer = self._producer(transactional=False, **{"batch.num.messages": 1, "linger.ms": 0, "compression.type": "none"})
        for _ in range(count):
            self._produce(producer, partition, self._random.randbytes(nbytes))
        _flush(producer, [])

    async def write_by_hand(self, partition: int) -> None:
        """One batch of each codec as `kernels.encode` builds it, some records without a time."""
        async with Cluster(self.servers, KafkaSecurity(), client_id="tests") as cluster:
            tp = TopicPartition(self.topic, partition)
            connection = await cluster.connection((await cluster.leaders_of([tp]))[tp][0])
            version = connection.version(messages.PRODUCE)
            for codec in Codec:
                data = batch([self._record(number) for number in range(self._random.randint(1, 40))], Frame(codec=codec))
                parts = encode_produce(version, None, 30_000, {self.topic: [(partition, data)]})
                answer = decode_produce(version, await connection.exchange(messages.PRODUCE, version, parts))
                assert tp in answer.stored, answer.refused

    def _record(self, offset: int) -> Record:
        key, value = self._key_and_value()
        headers = tuple((name.encode(), data) for name, data in self._headers())
        return Record(offset, value, key, self._random.choice((-1, self._now_ms, self._now_ms + offset)), headers)

    def _producer(self, *, transactional: bool, **settings: str | int) -> Producer:
        self._ids += 1
        made: dict[str, str | int | bool] = {
            "bootstrap.servers": self.servers,
            "compression.type": self._random.choice(CODECS),
            "linger.ms": 100,
            "batch.size": 1_500_000,
            "message.max.bytes": 2_000_000,
            "log_level": 0,
            **settings,
        }
        if transactional:
            made["transactional.id"] = f"{self.topic}-{self._ids}"
        producer = Producer(made)
        if transactional:
            producer.init_transactions(_TIMEOUT_S)
            producer.begin_transaction()
        return producer

    def _one_batch(self, producer: Producer, partition: int) -> None:
        self._now_ms += self._shape.step_ms
        failures: list[KafkaError] = []
        for _ in range(self._random.choice((1, self._random.randint(1, self._shape.most_records)))):
            self._produce(producer, partition, None, failures)
        _flush(producer, failures)

    def _produce(self, producer: Producer, partition: int, value: bytes | None, failures: list[KafkaError] | None = None) -> None:
        key, other = self._key_and_value()
        time_ms = self._now_ms + self._random.randint(0, self._shape.step_ms)
        headers = [*self._headers(), ("t", b"%d" % time_ms)]

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None and failures is not None:
                failures.append(error)

        while True:
            try:
                producer.produce(
                    self.topic,
                    other if value is None else value,
                    key,
                    partition=partition,
                    timestamp=time_ms,
                    headers=headers,
                    on_delivery=delivered,
                )
                return
            except BufferError:
                producer.poll(0.1)

    def _key_and_value(self) -> tuple[bytes | None, bytes | None]:
        draw = self._random
        keys = self._shape.keys
        key = b"key-%d" % draw.randrange(keys) if keys else draw.choice((None, b"", draw.randbytes(10)))
        size = draw.choice((0, 1, 100, draw.randint(0, self._shape.largest)))
        value = draw.choice((None, draw.randbytes(size), draw.randbytes(1) * size, draw.randbytes(size)))
        return key, value

    def _headers(self) -> list[tuple[str, bytes | None]]:
        draw = self._random
        return [(draw.choice(_NAMES), draw.choice((None, b"", draw.randbytes(5)))) for _ in range(draw.choice((0, 0, 1, 3)))]


def _flush(producer: Producer, failures: list[KafkaError]) -> None:
    assert producer.flush(_TIMEOUT_S) == 0
    assert not failures, failures[0]
