"""Our Produce codec says and understands what kafka-python's generated classes say and understand."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.producer import ProduceRequest, ProduceResponse

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.codes import KafkaCode, failure
from smartconnect.kafka.produce_codec import ProduceAnswer, ProduceRefusal, decode_produce, encode_produce

VERSIONS = (7, 8, 9, 11)
names = st.text("abcXYZ019._-", min_size=1, max_size=30)
i64 = st.integers(-1, 2**62)


@pytest.mark.parametrize("version", VERSIONS)
@given(
    topics=st.dictionaries(
        names, st.lists(st.tuples(st.integers(0, 2**31 - 1), st.binary(min_size=1, max_size=300)), max_size=3), max_size=3
    ),
    transactional_id=st.none() | names,
)
@settings(max_examples=40)
def test_requests_are_read_by_the_generated_classes(
    version: int, topics: dict[str, list[tuple[int, bytes]]], transactional_id: str | None
) -> None:
    raw = b"".join(encode_produce(version, transactional_id, 1234, topics))
    read = ProduceRequest.decode(raw, version=version)
    assert (read.transactional_id, read.acks, read.timeout_ms) == (transactional_id, -1, 1234)
    assert {t.name: [(p.index, bytes(p.records)) for p in t.partition_data] for t in read.topic_data} == topics


def test_batches_are_parts_of_the_request_and_not_copies() -> None:
    batch = memoryview(bytearray(b"batch"))
    parts = encode_produce(11, None, 1, {"t": [(0, batch)], "u": [(1, batch), (2, batch)]})
    assert sum(part is batch for part in parts) == 3


def answer(version: int, data: Any) -> tuple[bytes, ProduceAnswer]:
    topic_class = ProduceResponse.TopicProduceResponse
    partition_class = topic_class.PartitionProduceResponse
    error_class = partition_class.BatchIndexAndErrorMessage
    topics, expected = [], ProduceAnswer(55, {}, {})
    for name in data.draw(st.lists(names, max_size=3, unique=True)):
        partitions = []
        for number in range(data.draw(st.integers(0, 4))):
            error, base, append, start = (data.draw(s) for s in (st.just(0) | st.integers(-1, 120), i64, i64, i64))
            talks = version >= 8 and data.draw(st.booleans())
            errors = data.draw(st.lists(st.tuples(st.integers(0, 99), st.none() | names), max_size=2)) if talks else []
            message = data.draw(st.none() | names) if talks else None
            partitions.append(
                partition_class(
                    index=number,
                    error_code=error,
                    base_offset=base,
                    log_append_time_ms=append,
                    log_start_offset=start,
                    record_errors=[error_class(batch_index=i, batch_index_error_message=m) for i, m in errors],
                    error_message=message,
                )
            )
            code = failure(error)
            if code in (None, KafkaCode.DUPLICATE_SEQUENCE_NUMBER):
                expected.stored[name, number] = base
            else:
                told = tuple((i, m or "") for i, m in errors)
                expected.refused[name, number] = ProduceRefusal(code, told, message or "")
        topics.append(topic_class(name=name, partition_responses=partitions))
    return ProduceResponse(responses=topics, throttle_time_ms=55).encode(version=version), expected


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_answers_of_the_generated_classes_are_understood(version: int, data: Any) -> None:
    raw, expected = answer(version, data)
    assert decode_produce(version, memoryview(raw)) == expected


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_damaged_answers_end_in_malformed_data(version: int, data: Any) -> None:
    raw = bytearray(answer(version, data)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedData):
        decode_produce(version, memoryview(raw)[: data.draw(st.integers(0, len(raw)))])


@pytest.mark.parametrize("version", VERSIONS)
@given(raw=st.binary(max_size=200))
def test_random_bytes_end_in_malformed_data(version: int, raw: bytes) -> None:
    with contextlib.suppress(MalformedData):
        decode_produce(version, memoryview(raw))
