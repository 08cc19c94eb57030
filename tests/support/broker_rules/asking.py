"""One broker, asked in raw requests through our own connection and codecs: every field of an answer is there to be compared, and nothing is
asked again behind the test's back. The same questions go to a real Kafka and to the fake one."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from smartconnect.kafka import messages
from smartconnect.kafka.batch import headers
from smartconnect.kafka.cluster import TRANSACTION, Cluster
from smartconnect.kafka.codes import COORDINATOR_MOVED, KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.messages import Api
from smartconnect.kafka.offsets import LATEST, list_offsets
from smartconnect.kafka.produce_codec import Buffer, encode_produce
from smartconnect.kafka.producer_ids import new_producer_id
from smartconnect.kafka.types import TopicPartition
from tests.support.waiting import eventually

_TIMEOUT_MS = 30_000
_FETCH_VERSION = 11


class MakeTopic(Protocol):
    """As the fixture `make_topic`."""

    def __call__(self, suffix: str = ..., *, partitions: int = ..., config: Mapping[str, str] | None = ...) -> Awaitable[str]: ...


class Part(NamedTuple):
    """What a Produce answer says of one partition. `record_errors` are indexes in the batch."""

    error: KafkaCode
    base_offset: int
    append_time: int
    record_errors: tuple[int, ...] = ()


class Log(NamedTuple):
    """What a partition holds: whole batches, markers too; the aborted list is (producer id, first offset)."""

    batches: list[bytes]
    aborted: list[tuple[int, int]]
    last_stable: int
    high_watermark: int


@dataclass(frozen=True, slots=True)
class Owner:
    """A producer as a coordinator named it; `name` None: without a transactional id."""

    name: str | None
    producer_id: int
    epoch: int

    @property
    def fields(self) -> dict[str, object]:
        return {"transactional_id": self.name, "producer_id": self.producer_id, "producer_epoch": self.epoch}


class Asker:
    """`make_topic` makes topics on the broker that `cluster` is a client of."""

    def __init__(self, cluster: Cluster, make_topic: MakeTopic) -> None:
        self.cluster, self._make_topic = cluster, make_topic

    async def parts(self, count: int, **config: str) -> list[TopicPartition]:
        """The partitions of a new topic, once their leaders answer for them. Names of settings are written with `_`."""
        settings = {name.replace("_", "."): value for name, value in config.items()}
        topic = await self._make_topic(secrets.token_hex(4), partitions=count, config=settings)
        found = [TopicPartition(topic, number) for number in range(count)]
        await self.served(found)
        return found

    async def served(self, parts: Sequence[TopicPartition]) -> None:
        """Until leaders answer for them; metadata shows them some ms earlier."""
        found = await list_offsets(self.cluster, dict.fromkeys(parts, LATEST), 0)
        assert not any(offset.error for offset in found.values())

    async def part(self, **config: str) -> TopicPartition:
        """The one partition of a new topic."""
        return (await self.parts(1, **config))[0]

    async def leader(self) -> Connection:
        """A connection of the caller's own to the one broker."""
        await self.cluster.metadata([])
        return await self.cluster.dial(1)

    # Producing

    async def produce(
        self, batches: Mapping[TopicPartition, Buffer], owner: Owner | None = None, *, version: int | None = None
    ) -> dict[TopicPartition, Part]:
        """One request; `owner` names the transactional id."""
        listed = [(tp, batch) for tp, batch in batches.items()]
        return await self.produce_listed(listed, owner.name if owner else None, version=version)

    async def produce_listed(
        self, batches: Sequence[tuple[TopicPartition, Buffer]], name: str | None = None, *, version: int | None = None
    ) -> dict[TopicPartition, Part]:
        """The same, for requests that no mapping can hold."""
        connection = await self.cluster.connection(1, "produce")
        return await (await submit(connection, batches, name, version=version))

    async def one(self, tp: TopicPartition, batch: Buffer, owner: Owner | None = None) -> Part:
        """The answer to a request with one batch."""
        return (await self.produce({tp: batch}, owner))[tp]

    # Transactions

    async def producer(self) -> Owner:
        """A producer id without a transactional id."""
        return Owner(None, *await new_producer_id(self.cluster))

    async def owner(self, name: str = "") -> Owner:
        """A new transactional id, or an old one taken over; waits for markers that are being written."""
        name = name or f"rules-{secrets.token_hex(6)}"
        return await self.patient_init(Owner(name, -1, -1))

    async def renew(self, owner: Owner) -> Owner:
        """The next epoch, asked for with the owner's own."""
        return await self.patient_init(owner)

    async def patient_init(self, owner: Owner) -> Owner:
        async def answered() -> Any:
            answer = await self.init(owner)
            if answer.error_code in COORDINATOR_MOVED:
                self.cluster.forget_coordinator(TRANSACTION, owner.name or "")
                return None
            return None if answer.error_code == KafkaCode.CONCURRENT_TRANSACTIONS else answer

        answer = await eventually(answered)
        assert answer.error_code == 0, KafkaCode(answer.error_code)
        return Owner(owner.name, answer.producer_id, answer.producer_epoch)

    async def init(self, owner: Owner, timeout_ms: int = 30_000) -> Any:
        """One InitProducerId, whatever it answers."""
        return await self.coordinator(owner, messages.INIT_PRODUCER_ID, owner.fields | {"transaction_timeout_ms": timeout_ms})

    async def add(self, owner: Owner, *parts: TopicPartition) -> dict[TopicPartition, KafkaCode]:
        """AddPartitionsToTxn, again while markers of the last transaction are being written."""

        async def answered() -> dict[TopicPartition, KafkaCode] | None:
            codes = await self.add_once(owner, *parts)
            return None if KafkaCode.CONCURRENT_TRANSACTIONS in codes.values() else codes

        return dict(await eventually(answered, poll_s=0.002))

    async def add_once(self, owner: Owner, *parts: TopicPartition) -> dict[TopicPartition, KafkaCode]:
        topics = [{"name": tp.topic, "partitions": [tp.partition]} for tp in parts]
        fields = {f"v3_and_below_{name}": value for name, value in (owner.fields | {"topics": topics}).items()}
        answer = await self.coordinator(owner, messages.ADD_PARTITIONS_TO_TXN, fields)
        return {
            TopicPartition(topic.name, p.partition_index): KafkaCode(p.partition_error_code)
            for topic in answer.results_by_topic_v3_and_below
            for p in topic.results_by_partition
        }

    async def end(self, owner: Owner, *, commit: bool) -> KafkaCode:
        """One EndTxn."""
        answer = await self.coordinator(owner, messages.END_TXN, owner.fields | {"committed": commit})
        return KafkaCode(answer.error_code)

    async def ended(self, owner: Owner, *, commit: bool) -> KafkaCode:
        """EndTxn, the same one, until it is not CONCURRENT_TRANSACTIONS."""

        async def answered() -> tuple[KafkaCode] | None:
            code = await self.end(owner, commit=commit)
            return None if code is KafkaCode.CONCURRENT_TRANSACTIONS else (code,)

        (code,) = await eventually(answered)
        return KafkaCode(code)

    async def coordinator(self, owner: Owner, api: Api, fields: Mapping[str, object]) -> Any:
        connection = await self.cluster.coordinator(TRANSACTION, owner.name or "")
        return await connection.call(api, fields)

    # Looking

    async def log(self, tp: TopicPartition, isolation: int = 0) -> Log:
        """Everything that a fetch from offset 0 gives, in one answer."""
        question = {
            "replica_id": -1,
            "max_wait_ms": 100,
            "min_bytes": 1,
            "max_bytes": 50 << 20,
            "isolation_level": isolation,
            "session_id": 0,
            "session_epoch": -1,
            "topics": [
                {
                    "topic": tp.topic,
                    "partitions": [
                        {
                            "partition": tp.partition,
                            "current_leader_epoch": -1,
                            "fetch_offset": 0,
                            "log_start_offset": -1,
                            "partition_max_bytes": 50 << 20,
                        }
                    ],
                }
            ],
            "forgotten_topics_data": [],
            "rack_id": "",
        }
        connection = await self.cluster.connection(1, "fetch")
        body = await connection.exchange(
            messages.FETCH, _FETCH_VERSION, [messages.encode(messages.FETCH, _FETCH_VERSION, question)]
        )
        (topic,) = messages.decode(messages.FETCH, _FETCH_VERSION, body).responses
        (found,) = topic.partitions
        assert found.error_code == 0, KafkaCode(found.error_code)
        blob = bytes(found.records or b"")
        batches = [blob[at : at + header.size] for at, header in headers(blob)]
        aborted = [(part.producer_id, part.first_offset) for part in found.aborted_transactions or ()]
        return Log(batches, aborted, found.last_stable_offset, found.high_watermark)

    async def last_sequences(self, tp: TopicPartition) -> dict[int, int]:
        """DescribeProducers: the last sequence number by producer id."""
        fields = {"topics": [{"name": tp.topic, "partition_indexes": [tp.partition]}]}
        answer = await (await self.cluster.connection(1)).call(messages.DESCRIBE_PRODUCERS, fields)
        return {known.producer_id: known.last_sequence for known in answer.topics[0].partitions[0].active_producers}


async def submit(
    connection: Connection, batches: Sequence[tuple[TopicPartition, Buffer]], name: str | None = None, *, version: int | None = None
) -> Awaitable[dict[TopicPartition, Part]]:
    """Send one Produce request; what is returned waits for its answer."""
    version = version or connection.version(messages.PRODUCE)
    topics: dict[str, list[tuple[int, Buffer]]] = {}
    for tp, batch in batches:
        topics.setdefault(tp.topic, []).append((tp.partition, batch))
    answer = await connection.submit(messages.PRODUCE, version, encode_produce(version, name, _TIMEOUT_MS, topics))

    async def decoded() -> dict[TopicPartition, Part]:
        found = messages.decode(messages.PRODUCE, version, await answer)
        return {TopicPartition(topic.name, p.index): _part(p) for topic in found.responses for p in topic.partition_responses}

    return decoded()


def _part(answer: Any) -> Part:
    errors = tuple(error.batch_index for error in answer.record_errors or ())
    return Part(KafkaCode(answer.error_code), answer.base_offset, answer.log_append_time_ms, errors)
