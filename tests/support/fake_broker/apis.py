"""The APIs that the fake broker speaks: a request's fields in, an answer's fields out, named as in Kafka's schemas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from smartconnect.kafka import messages
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.messages import Api
from smartconnect.kafka.types import TopicPartition
from tests.support.fake_broker.log import LEADER_EPOCH

if TYPE_CHECKING:
    from tests.support.fake_broker.server import FakeBroker

NODE: Final = 1
_TRANSACTION: Final = 1
_LATEST, _EARLIEST = -1, -2

Fields = Mapping[str, object]
Handler = Callable[["FakeBroker", int, Any], Fields | Awaitable[Fields]]


class Unasked(Exception):
    """A request that no rule covers: the test has to say what a broker does, or the product must not ask."""


class Spoken(NamedTuple):
    """An API with the versions that a real broker advertises, and those that are really answered here."""

    api: Api
    advertised: tuple[int, int]
    answered: range
    handler: Handler


def api_versions(broker: FakeBroker, version: int, request: Any) -> Fields:
    keys = [
        {"api_key": known.api.key, "min_version": known.advertised[0], "max_version": known.advertised[1]}
        for known in SPOKEN.values()
    ]
    return {"error_code": 0, "api_keys": keys, "throttle_time_ms": 0}


def metadata(broker: FakeBroker, version: int, request: Any) -> Fields:
    names = sorted(broker.topics) if request.topics is None else [topic.name for topic in request.topics]
    return {
        "throttle_time_ms": 0,
        "brokers": [{"node_id": NODE, "host": broker.host, "port": broker.port, "rack": None}],
        "cluster_id": "fake",
        "controller_id": NODE,
        "topics": [_topic(broker, name) for name in names],
    }


def _topic(broker: FakeBroker, name: str) -> Fields:
    known = {"error_code": 0, "name": name, "is_internal": False, "authorized_operations": set()}
    if name not in broker.topics:
        return known | {"error_code": int(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION), "partitions": []}
    partition = {
        "error_code": 0,
        "leader_id": NODE,
        "leader_epoch": LEADER_EPOCH,
        "replica_nodes": [NODE],
        "isr_nodes": [NODE],
        "offline_replicas": [],
    }
    return known | {
        "topic_id": broker.topics[name].topic_id,
        "partitions": [{"partition_index": number} | partition for number in range(broker.topics[name].partitions)],
    }


def find_coordinator(broker: FakeBroker, version: int, request: Any) -> Fields:
    if request.key_type != _TRANSACTION:
        raise Unasked(f"a coordinator of key type {request.key_type}")
    broker.coordinator.find()
    here = {"node_id": NODE, "host": broker.host, "port": broker.port, "error_code": 0, "error_message": None}
    return {"throttle_time_ms": 0, "coordinators": [{"key": key} | here for key in request.coordinator_keys]}


async def produce(broker: FakeBroker, version: int, request: Any) -> Fields:
    if request.acks != -1:
        raise Unasked(f"a Produce with acks {request.acks}")
    batches = {
        TopicPartition(topic.name, part.index): bytes(part.records or b"")
        for topic in request.topic_data
        for part in topic.partition_data
    }
    answers = await broker.producing.produce(version, request.transactional_id, batches, broker.now_ms())
    topics: dict[str, list[Fields]] = {}
    for tp, answer in answers.items():
        errors = [{"batch_index": index, "batch_index_error_message": "wrong"} for index in answer.records]
        topics.setdefault(tp.topic, []).append(
            {
                "index": tp.partition,
                "error_code": int(answer.code),
                "base_offset": answer.base_offset,
                "log_append_time_ms": answer.time_ms,
                "log_start_offset": 0 if answer.code is KafkaCode.NONE else -1,
                "record_errors": errors,
                "error_message": None,
            }
        )
    return {
        "responses": [{"name": name, "partition_responses": parts} for name, parts in topics.items()],
        "throttle_time_ms": 0,
    }


def init_producer_id(broker: FakeBroker, version: int, request: Any) -> Fields:
    code, producer_id, epoch = broker.coordinator.init(
        request.transactional_id, request.transaction_timeout_ms, request.producer_id, request.producer_epoch
    )
    return {"throttle_time_ms": 0, "error_code": int(code), "producer_id": producer_id, "producer_epoch": epoch}


def add_partitions_to_txn(broker: FakeBroker, version: int, request: Any) -> Fields:
    partitions = [TopicPartition(topic.name, number) for topic in request.v3_and_below_topics for number in topic.partitions]
    codes = dict.fromkeys(partitions, KafkaCode.OPERATION_NOT_ATTEMPTED)
    codes |= {tp: KafkaCode.UNKNOWN_TOPIC_OR_PARTITION for tp in partitions if tp not in broker.logs}
    if KafkaCode.UNKNOWN_TOPIC_OR_PARTITION not in codes.values():
        code = broker.coordinator.add(
            request.v3_and_below_transactional_id,
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
            partitions,
        )
        codes = dict.fromkeys(partitions, code)
    results = [
        {"name": tp.topic, "results_by_partition": [{"partition_index": tp.partition, "partition_error_code": int(code)}]}
        for tp, code in codes.items()
    ]
    return {"throttle_time_ms": 0, "results_by_topic_v3_and_below": results}


def end_txn(broker: FakeBroker, version: int, request: Any) -> Fields:
    code = broker.coordinator.end(request.transactional_id, request.producer_id, request.producer_epoch, commit=request.committed)
    return {"throttle_time_ms": 0, "error_code": int(code)}


def list_offsets(broker: FakeBroker, version: int, request: Any) -> Fields:
    def answer(tp: TopicPartition, time: int) -> Fields:
        log = broker.logs.get(tp)
        if log is None:
            code = int(KafkaCode.UNKNOWN_TOPIC_OR_PARTITION)
            return {"partition_index": tp.partition, "error_code": code, "timestamp": -1, "offset": -1, "leader_epoch": -1}
        if time not in (_LATEST, _EARLIEST):
            raise Unasked(f"the offset of time {time}")
        offset = log.visible_end(request.isolation_level) if time == _LATEST else 0
        return {"partition_index": tp.partition, "error_code": 0, "timestamp": -1, "offset": offset, "leader_epoch": LEADER_EPOCH}

    topics = [
        {
            "name": topic.name,
            "partitions": [answer(TopicPartition(topic.name, part.partition_index), part.timestamp) for part in topic.partitions],
        }
        for topic in request.topics
    ]
    return {"throttle_time_ms": 0, "topics": topics}


def fetch(broker: FakeBroker, version: int, request: Any) -> Fields:
    if request.session_epoch != -1:
        raise Unasked("a fetch session")

    def answer(tp: TopicPartition, offset: int) -> Fields:
        log = broker.logs[tp]
        records, aborted = log.read(offset, request.isolation_level)
        return {
            "partition_index": tp.partition,
            "error_code": 0,
            "high_watermark": log.end,
            "last_stable_offset": log.last_stable,
            "log_start_offset": 0,
            "aborted_transactions": [{"producer_id": part.producer_id, "first_offset": part.first_offset} for part in aborted],
            "preferred_read_replica": -1,
            "records": records,
        }

    responses = [
        {
            "topic": topic.topic,
            "partitions": [answer(TopicPartition(topic.topic, part.partition), part.fetch_offset) for part in topic.partitions],
        }
        for topic in request.topics
    ]
    return {"throttle_time_ms": 0, "error_code": 0, "session_id": 0, "responses": responses}


def describe_producers(broker: FakeBroker, version: int, request: Any) -> Fields:
    def answer(tp: TopicPartition) -> Fields:
        active = [
            {
                "producer_id": producer_id,
                "producer_epoch": known.epoch,
                "last_sequence": known.last_sequence,
                "last_timestamp": known.batches[-1].newest_ms if known.batches else -1,
                "coordinator_epoch": -1,
                "current_txn_start_offset": -1 if known.open_since is None else known.open_since,
            }
            for producer_id, known in broker.logs[tp].producers.items()
            if known.epoch >= 0
        ]
        return {"partition_index": tp.partition, "error_code": 0, "error_message": None, "active_producers": active}

    topics = [
        {
            "name": topic.name,
            "partitions": [answer(TopicPartition(topic.name, number)) for number in topic.partition_indexes],
        }
        for topic in request.topics
    ]
    return {"throttle_time_ms": 0, "topics": topics}


_ALL: Final = (
    Spoken(messages.API_VERSIONS, (0, 4), range(0, 4), api_versions),
    Spoken(messages.METADATA, (0, 13), range(8, 13), metadata),
    Spoken(messages.FIND_COORDINATOR, (0, 6), range(4, 5), find_coordinator),
    Spoken(messages.PRODUCE, (0, 13), range(7, 12), produce),
    Spoken(messages.INIT_PRODUCER_ID, (0, 5), range(4, 5), init_producer_id),
    Spoken(messages.ADD_PARTITIONS_TO_TXN, (0, 5), range(3, 4), add_partitions_to_txn),
    Spoken(messages.END_TXN, (0, 5), range(3, 4), end_txn),
    Spoken(messages.LIST_OFFSETS, (1, 11), range(4, 8), list_offsets),
    Spoken(messages.FETCH, (4, 18), range(11, 12), fetch),
    Spoken(messages.DESCRIBE_PRODUCERS, (0, 0), range(0, 1), describe_producers),
)
SPOKEN: Final = {known.api.key: known for known in _ALL}
