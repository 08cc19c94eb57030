from __future__ import annotations

import asyncio
import struct

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.ids import count_ids
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import Outcome, RecordWriter, WriterOptions, read_topic
from tests.support.rules import Fate
from tests.support.waiting import eventually

QUICK: dict[str, str | int] = {"socket.timeout.ms": 2000, "retry.backoff.ms": 20, "reconnect.backoff.ms": 20}


@pytest.fixture
def writer(proxied_kafka: KafkaProxy, topic: str) -> RecordWriter:
    return RecordWriter(proxied_kafka.bootstrap_servers, topic, options=WriterOptions(client=QUICK))


async def assert_exactly_once(kafka: KafkaCluster, writer: RecordWriter) -> None:
    records = await read_topic(kafka.bootstrap_servers, writer.topic)
    count_ids([[record.value or b"" for record in records[0]]], writer.expected).assert_exactly_once()


async def test_all_traffic_of_its_clients_passes_through_the_proxy(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    await writer.write(100)
    assert proxied_kafka.requests[ApiKey.METADATA] > 0
    assert proxied_kafka.requests[ApiKey.PRODUCE] > 0
    assert proxied_kafka.connections > 0
    await assert_exactly_once(kafka, writer)


async def test_request_whose_answer_is_dropped_has_had_its_effect(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, topic: str
) -> None:
    lost = proxied_kafka.drop_answer(ApiKey.PRODUCE)
    impatient = {"bootstrap.servers": proxied_kafka.bootstrap_servers, "retries": 0, "log_level": 0, "acks": "all"}
    producer = Producer(impatient)
    outcome: list[object] = []
    producer.produce(topic, b"once", on_delivery=lambda error, _message: outcome.append(error))
    await asyncio.to_thread(producer.flush, 30)
    assert outcome[0] is not None
    assert lost.hits == 1
    assert [record.value for record in (await read_topic(kafka.bootstrap_servers, topic))[0]] == [b"once"]


@pytest.mark.parametrize("then", Fate)
async def test_idempotent_client_repeats_what_was_lost_and_nothing_is_doubled(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter, then: Fate
) -> None:
    answers = proxied_kafka.drop_answer(ApiKey.PRODUCE, then=then)
    await writer.write(10)
    requests = proxied_kafka.close_before(ApiKey.PRODUCE, then=then)
    await writer.write(10)
    assert (answers.hits, requests.hits) == (1, 1)
    await assert_exactly_once(kafka, writer)


async def test_held_answer_comes_when_the_gate_opens(proxied_kafka: KafkaProxy, writer: RecordWriter) -> None:
    gate = proxied_kafka.hold_answer(ApiKey.END_TXN)
    transaction = asyncio.create_task(writer.write_transaction(5))
    await gate.reached()
    assert gate.held[0].answer is not None
    assert not transaction.done()
    gate.release()
    await transaction


async def test_held_request_has_no_effect_until_the_gate_opens(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    gate = proxied_kafka.hold_request(ApiKey.END_TXN)
    transaction = asyncio.create_task(writer.write_transaction(5))
    await gate.reached()
    assert (await read_topic(kafka.bootstrap_servers, writer.topic))[0] == []
    gate.release()
    await transaction
    await assert_exactly_once(kafka, writer)


async def test_hooks_see_the_request_before_the_broker_and_the_answer_before_the_client(
    proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    steps: list[str] = []
    proxied_kafka.on_request(ApiKey.END_TXN, lambda request: steps.append(f"request {request.api_key}"))
    proxied_kafka.on_answer(ApiKey.END_TXN, lambda exchange: steps.append(f"answer {exchange.answer is not None}"))
    await writer.write_transaction(1)
    assert steps == ["request 26", "answer True"]


async def test_late_duplicate_of_an_old_request_is_answered_by_the_broker(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    saved: list[Request] = []
    proxied_kafka.on_request(ApiKey.PRODUCE, saved.append)
    await writer.write(3)
    await writer.write(3)
    answer = await proxied_kafka.send_again(saved[0])
    assert struct.unpack(">i", answer[:4])[0] == saved[0].correlation_id
    await assert_exactly_once(kafka, writer)


async def test_answer_can_be_rewritten(proxied_kafka: KafkaProxy, kafka: KafkaCluster, topic: str) -> None:
    not_controller = 41

    def refuse(_request: Request, answer: bytes) -> bytes:
        # CreateTopics v5+: correlation id, tags, throttle, compact array, compact name, topic id (v7), error code
        name_length = answer[10] - 1
        code = 11 + name_length + 16
        return answer[:code] + struct.pack(">h", not_controller) + answer[code + 2 :]

    rule = proxied_kafka.rewrite_answer(ApiKey.CREATE_TOPICS, refuse, count=None)
    admin = AdminClient({"bootstrap.servers": proxied_kafka.bootstrap_servers, "log_level": 0})
    future = admin.create_topics([NewTopic(f"{topic}.other", 1, 1)], request_timeout=3)[f"{topic}.other"]
    with pytest.raises(KafkaException):
        await asyncio.to_thread(future.result, 20)
    assert rule.hits >= 1


async def test_cut_and_black_hole_stop_everything_until_healed(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    await writer.write(1)
    for breakage in (proxied_kafka.cut, proxied_kafka.blackhole):
        breakage()
        writing = asyncio.create_task(writer.write(1))
        done, _ = await asyncio.wait([writing], timeout=1.0)
        assert not done
        proxied_kafka.heal()
        await writing
    await assert_exactly_once(kafka, writer)


async def test_delayed_request_arrives_later(proxied_kafka: KafkaProxy, writer: RecordWriter) -> None:
    await writer.write(1)
    rule = proxied_kafka.delay(ApiKey.PRODUCE, 0.5, count=1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await writer.write(1)
    assert loop.time() - started >= 0.5
    assert rule.hits == 1


async def test_aborted_and_open_transactions_are_not_expected(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, writer: RecordWriter
) -> None:
    await writer.write_transaction(3)
    await writer.write_transaction(3, Outcome.ABORT)
    hanging = await writer.open_transaction(3, Outcome.ABORT)
    await eventually(lambda: _written(kafka, writer.topic, 9), what="9 records in the log")
    await assert_exactly_once(kafka, writer)
    await hanging.end()
    await writer.write(2)
    await assert_exactly_once(kafka, writer)


async def _written(kafka: KafkaCluster, topic: str, count: int) -> bool:
    return len((await read_topic(kafka.bootstrap_servers, topic, isolation="read_uncommitted"))[0]) == count
