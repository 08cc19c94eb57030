"""Test data in Kafka, written and read back by a client that is not ours (confluent-kafka).

A `RecordWriter` knows what it wrote, so that `ids.count_ids` can tell what became of it: `expected` holds exactly the records that
a `read_committed` reader must see. Aborted and open transactions carry tags of their own and are expected nowhere.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.support.ids import RecordId, encode_id

_TIMEOUT_S = 60.0
_TRANSACTION_TIMEOUT_MS = 60_000


class Outcome(Enum):
    """How a transaction ends."""

    COMMIT = "commit"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """`value_size` pads every value; `codec` is one of none, gzip, snappy, lz4, zstd; `client`: further properties."""

    codec: str = "none"
    value_size: int = 0
    tag: str = "id"
    with_keys: bool = False
    client: Mapping[str, str | int] = field(default_factory=dict, repr=False)


class RecordWriter:
    """Writes records with ids to the partitions of one topic."""

    def __init__(self, servers: str, topic: str, partitions: int = 1, options: WriterOptions | None = None) -> None:
        self.topic = topic
        self.options = options or WriterOptions()
        self.servers = servers
        self._partitions = partitions
        self._next = {partition: 0 for partition in range(partitions)}
        self._unwanted = itertools.count()
        self._plain: Producer | None = None

    @property
    def expected(self) -> dict[tuple[str, int], int]:
        """(tag, partition) → how many sequences a reader must find; what `count_ids` wants."""
        return {(self.options.tag, partition): number for partition, number in self._next.items()}

    async def write(self, count: int, partitions: Sequence[int] | None = None) -> None:
        """`count` records to each partition, acknowledged by the broker when this returns."""
        if self._plain is None:
            self._plain = self._producer({"enable.idempotence": True})
        await asyncio.to_thread(self._write, self._plain, self.options.tag, count, partitions)
        self._wrote(count, partitions)

    async def write_transaction(
        self, count: int, outcome: Outcome = Outcome.COMMIT, partitions: Sequence[int] | None = None
    ) -> None:
        """One transaction with `count` records for each partition, ended as told."""
        transaction = await self.open_transaction(count, outcome, partitions)
        await transaction.end()

    async def open_transaction(
        self, count: int, outcome: Outcome = Outcome.COMMIT, partitions: Sequence[int] | None = None
    ) -> OpenTransaction:
        """The same, left open: the records are in the log, behind the last stable offset. `end` it, or let it time out.

        With COMMIT nothing else may be written to these partitions before the end (the sequences would not be in order).
        """
        producer = self._producer(
            {"transactional.id": f"test-{secrets.token_hex(8)}", "transaction.timeout.ms": _TRANSACTION_TIMEOUT_MS}
        )
        await asyncio.to_thread(producer.init_transactions, _TIMEOUT_S)
        producer.begin_transaction()
        tag = self.options.tag if outcome is Outcome.COMMIT else f"aborted-{next(self._unwanted)}"
        await asyncio.to_thread(self._write, producer, tag, count, partitions)
        return OpenTransaction(self, producer, outcome, count, partitions)

    async def write_raw(
        self,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int = 0,
    ) -> None:
        """One record without an id: nulls, tombstones, odd bytes. `timestamp_ms` 0: now."""
        if self._plain is None:
            self._plain = self._producer({"enable.idempotence": True})
        self._plain.produce(self.topic, value, key, partition=partition, headers=list(headers) or None, timestamp=timestamp_ms)
        await asyncio.to_thread(_flush, self._plain)

    def _wrote(self, count: int, partitions: Sequence[int] | None) -> None:
        for partition in partitions if partitions is not None else self._next:
            self._next[partition] += count

    def _producer(self, properties: Mapping[str, str | int | bool]) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.servers,
                "compression.type": self.options.codec,
                "linger.ms": 5,
                "log_level": 0,
                **properties,
                **self.options.client,
            }
        )

    def _write(self, producer: Producer, tag: str, count: int, partitions: Sequence[int] | None) -> None:
        chosen = list(partitions) if partitions is not None else list(self._next)
        failures: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failures.append(error)

        for number in range(count):
            for partition in chosen:
                sequence = self._next[partition] + number
                value = encode_id(RecordId(tag, partition, sequence), self.options.value_size)
                key = str(sequence).encode() if self.options.with_keys else None
                while True:
                    try:
                        producer.produce(self.topic, value, key, partition=partition, on_delivery=delivered)
                        break
                    except BufferError:
                        producer.poll(0.1)
            producer.poll(0)
        _flush(producer)
        if failures:
            raise KafkaException(failures[0])


class OpenTransaction:
    """A transaction whose records are written and whose fate is open."""

    def __init__(
        self,
        writer: RecordWriter,
        producer: Producer,
        outcome: Outcome,
        count: int,
        partitions: Sequence[int] | None,
    ) -> None:
        self._writer = writer
        self._producer = producer
        self._outcome = outcome
        self._count = count
        self._partitions = partitions

    async def end(self) -> None:
        """Commit or abort, as it was opened for."""
        if self._outcome is Outcome.ABORT:
            await asyncio.to_thread(self._producer.abort_transaction, _TIMEOUT_S)
            return
        await asyncio.to_thread(self._producer.commit_transaction, _TIMEOUT_S)
        self._writer._wrote(self._count, self._partitions)


@dataclass(frozen=True, slots=True)
class Record:
    """A record as an independent reader sees it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


async def read_topic(
    servers: str, topic: str, *, isolation: str = "read_committed", client: Mapping[str, str] | None = None
) -> dict[int, list[Record]]:
    """All records of the topic, by partition, up to its present end (with `read_committed`: the last stable offset)."""
    properties: dict[str, str | bool | int] = {
        "bootstrap.servers": servers,
        "group.id": f"reader-{secrets.token_hex(4)}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": isolation,
        "log_level": 0,
        **(client or {}),
    }
    return await asyncio.to_thread(_read_topic, properties, topic)


def _read_topic(properties: Mapping[str, str | bool | int], topic: str) -> dict[int, list[Record]]:
    consumer = Consumer(dict(properties))
    try:
        partitions = list(consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        records: dict[int, list[Record]] = {partition: [] for partition in partitions}
        unread = set(partitions)
        while unread:
            message = consumer.poll(_TIMEOUT_S)
            assert message is not None, f"{topic} could not be read to its end within {_TIMEOUT_S:g} s"
            error = message.error()
            if error is None:
                records[_number(message.partition())].append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(_number(message.partition()))
            else:
                raise KafkaException(error)
        return records
    finally:
        consumer.close()


def _record(message: Message) -> Record:
    return Record(
        partition=_number(message.partition()),
        offset=_number(message.offset()),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=_headers(message),
        timestamp_ms=message.timestamp()[1],
    )


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    pairs = cast("list[tuple[str, str | bytes | None]]", message.headers() or [])
    return tuple((name, _bytes(value)) for name, value in pairs)


def _number(value: int | None) -> int:
    assert value is not None
    return value


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _flush(producer: Producer) -> None:
    left = producer.flush(_TIMEOUT_S)
    assert left == 0, f"{left} records were not acknowledged within {_TIMEOUT_S:g} s"
