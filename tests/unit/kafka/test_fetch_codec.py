"""Our Fetch codec says and understands what kafka-python's generated classes say and understand; broken bytes end in
MalformedData, in time and memory bounded by their own length."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.consumer import FetchRequest, FetchResponse

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.fetch_codec import BY_ID_FROM, FetchQuestion, TopicRef, Wanted, decode_fetch, encode_fetch

VERSIONS = (11, 12, 13)
names = st.text("abcXYZ019._-", min_size=1, max_size=40)
ids = st.binary(min_size=16, max_size=16).filter(any)  # the generated classes read zeros as none
refs = st.builds(TopicRef, names, ids)
i64 = st.integers(-1, 2**62)
i32 = st.integers(-1, 2**31 - 1)
wanted = st.builds(Wanted, st.integers(0, 2**31 - 1), i32, i64, st.integers(1, 2**31 - 1))


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_requests_are_read_by_the_generated_classes(version: int, data: Any) -> None:
    topics = data.draw(st.lists(st.tuples(refs, st.lists(wanted, max_size=4)), max_size=4))
    forgotten = data.draw(st.dictionaries(refs, st.lists(st.integers(0, 99), min_size=1, max_size=3), max_size=3))
    question = FetchQuestion(500, 1, 1 << 20, 1, data.draw(i32), data.draw(i32), data.draw(names))
    raw = encode_fetch(version, question, topics, forgotten)
    read = FetchRequest.decode(raw, version=version)
    assert (read.max_wait_ms, read.min_bytes, read.max_bytes, read.isolation_level) == question[:4]
    assert (read.session_id, read.session_epoch, read.rack_id) == question[4:]
    assert read.replica_id == -1
    seen = [
        (
            said(version, t),
            [Wanted(p.partition, p.current_leader_epoch, p.fetch_offset, p.partition_max_bytes) for p in t.partitions],
        )
        for t in read.topics
    ]
    assert seen == [(understood(version, ref), entries) for ref, entries in topics]
    left = [(said(version, t), t.partitions) for t in read.forgotten_topics_data]
    assert left == [(understood(version, ref), numbers) for ref, numbers in forgotten.items()]


def said(version: int, topic: Any) -> str | UUID:
    return topic.topic_id if version >= BY_ID_FROM else topic.topic


def understood(version: int, ref: TopicRef) -> str | UUID:
    return UUID(bytes=ref.topic_id) if version >= BY_ID_FROM else ref.name


def answer(version: int, data: Any, known: dict[bytes, str] | None = None) -> tuple[bytes, list[tuple[Any, ...]]]:
    """Some answer, and what is to be read from it; `known` gets the names of its topics' ids."""
    topic_class = FetchResponse.FetchableTopicResponse
    partition_class = topic_class.PartitionData
    aborted_class = partition_class.AbortedTransaction
    expected = []
    topics = []
    for name, topic_id in data.draw(st.lists(refs, max_size=3, unique_by=lambda ref: ref.topic_id)):
        if known is not None:
            known[topic_id] = name
        partitions = []
        for number in range(data.draw(st.integers(0, 3))):
            aborted = data.draw(st.lists(st.tuples(i64, i64), max_size=3))
            records = data.draw(st.binary(max_size=100))
            error, high, stable, start, preferred = (data.draw(s) for s in (st.integers(-1, 120), i64, i64, i64, i32))
            partitions.append(
                partition_class(
                    partition_index=number,
                    error_code=error,
                    high_watermark=high,
                    last_stable_offset=stable,
                    log_start_offset=start,
                    aborted_transactions=[aborted_class(producer_id=p, first_offset=o) for p, o in aborted],
                    preferred_read_replica=preferred,
                    records=records,
                )
            )
            expected.append((name, number, error, high, stable, start, aborted, preferred, records))
        topics.append(topic_class(topic=name, topic_id=UUID(bytes=topic_id), partitions=partitions))
    raw = FetchResponse(throttle_time_ms=7, error_code=0, session_id=9, responses=topics).encode(version=version)
    return raw, expected


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_answers_of_the_generated_classes_are_understood(version: int, data: Any) -> None:
    known: dict[bytes, str] = {}
    raw, expected = answer(version, data, known)
    got = decode_fetch(version, memoryview(raw), known)
    assert (got.throttle_ms, got.error, got.session_id) == (7, 0, 9)
    assert [(*p[:6], p.aborted, p.preferred_replica, bytes(p.records)) for p in got.partitions] == expected


def test_records_are_slices_of_the_answer() -> None:
    partition_class = FetchResponse.FetchableTopicResponse.PartitionData
    partition = partition_class(partition_index=0, high_watermark=1, records=b"x" * 100)
    topic = FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])
    raw = bytearray(FetchResponse(responses=[topic]).encode(version=12))
    (got,) = decode_fetch(12, memoryview(raw), {}).partitions
    raw[raw.index(b"x" * 100)] = ord("y")
    assert bytes(got.records) == b"y" + b"x" * 99


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=60)
def test_damaged_answers_end_in_malformed_data(version: int, data: Any) -> None:
    raw = bytearray(answer(version, data)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        got = decode_fetch(version, memoryview(raw)[:cut], {})
    except MalformedData:
        return
    assert sum(len(p.records) for p in got.partitions) <= cut


@pytest.mark.parametrize("version", VERSIONS)
@given(raw=st.binary(max_size=200))
def test_random_bytes_end_in_malformed_data(version: int, raw: bytes) -> None:
    with contextlib.suppress(MalformedData):
        decode_fetch(version, memoryview(raw), {})


def test_topics_that_nobody_asked_for_by_id_have_no_name() -> None:
    partition = FetchResponse.FetchableTopicResponse.PartitionData(partition_index=3, records=b"")
    topics = [FetchResponse.FetchableTopicResponse(topic_id=UUID(int=number), partitions=[partition]) for number in (7, 8)]
    raw = memoryview(FetchResponse(responses=topics).encode(version=13))
    got = decode_fetch(13, raw, {UUID(int=8).bytes: "orders"}).partitions
    assert [(part.topic, part.partition) for part in got] == [("", 3), ("orders", 3)]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_cut_off_anywhere_ends_in_malformed_data(version: int) -> None:
    partition_class = FetchResponse.FetchableTopicResponse.PartitionData
    aborted = [partition_class.AbortedTransaction(producer_id=1, first_offset=2)]
    partition = partition_class(partition_index=0, high_watermark=1, aborted_transactions=aborted, records=b"x" * 20)
    topic = FetchResponse.FetchableTopicResponse(topic="t", topic_id=UUID(int=7), partitions=[partition])
    raw = memoryview(FetchResponse(responses=[topic]).encode(version=version))
    unread = 1 if version >= 12 else 0  # the answer's own tagged fields
    assert decode_fetch(version, raw[: len(raw) - unread], {}).partitions
    for end in range(len(raw) - unread):
        with pytest.raises(MalformedData):
            decode_fetch(version, raw[:end], {})


@pytest.mark.parametrize(
    ("version", "count"),
    [(11, b"\x7f\xff\xff\xff"), (12, b"\xff\xff\xff\xff\x0f"), (13, b"\xff\xff\xff\xff\x0f")],
)
def test_enormous_counts_cost_no_memory(version: int, count: bytes) -> None:
    raw = memoryview(b"\0" * 10 + count + b"\0" * 100)
    tracemalloc.start()
    with pytest.raises(MalformedData):
        decode_fetch(version, raw, {})
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
